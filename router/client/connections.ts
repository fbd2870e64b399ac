/**
 * All connections of clients, as many as there is memory for. When all places are taken, idle ones are evicted for a newcomer:
 * connections that have had no call for a while, or have not come to one.
 */
import type { Clock } from '../../shared/wait/clock.ts';
import type { ClientConnection, Evictable } from './connection-deps.ts';
import { http2Places, maxPlacesOfOne, placesOf, placesOfSocket } from './places.ts';

/** Connections of TLS that are not secure yet. */
export interface PendingHandshakes {
  readonly size: number;
  readonly oldestFirst: Iterable<Evictable>;
}

export interface ConnectionsDeps {
  /** Places. */
  readonly max: number;
  /** A connection over TLS may turn out to speak HTTP/2. */
  readonly http2: boolean;
  readonly clock: Clock;
  readonly handshakes: PendingHandshakes | undefined;
  readonly onEvicted: () => void;
}

/** A connection without a call stays this long. */
const idleMs = 2_000;
/** Look at this many for one newcomer, so that many who find no room cost little; for the next one others are looked at. */
const maxLooks = 64;
/** Beside all places, this share of them is for evicted connections that linger. One always may. */
const lingeringShare = 1 / 8;

interface Candidate {
  readonly evictable: Evictable;
  readonly places: number;
  /** Absent for a handshake. */
  readonly connection?: ClientConnection;
}

interface Evicting extends Candidate {
  readonly idleSinceMs: number;
}

export class Connections {
  readonly #deps: ConnectionsDeps;
  /** The order is that in which eviction looks at them; those that it looked at last are at the end. */
  readonly #all = new Set<ClientConnection>();
  #places = 0;
  /** Chosen to be evicted in this turn; they keep their places until then. */
  readonly #evicting = new Map<Evictable, Evicting>();
  #evictingPlaces = 0;
  /** Evicted and not closed yet, with the places that they had. */
  readonly #lingering = new Map<ClientConnection, number>();
  #lingeringPlaces = 0;

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps;
  }

  /** Includes those that linger. */
  get size(): number {
    return this.#all.size + this.#lingering.size;
  }

  /** Places that are taken, by handshakes too. */
  get places(): number {
    return this.#places + (this.#deps.handshakes?.size ?? 0) * this.#placesOfSocket('tls');
  }

  *[Symbol.iterator](): Generator<ClientConnection> {
    yield* this.#all;
    yield* this.#lingering.keys();
  }

  add(connection: ClientConnection): void {
    this.#all.add(connection);
    this.#places += this.#placesOf(connection);
  }

  delete(connection: ClientConnection): void {
    if (this.#all.delete(connection)) this.#places -= this.#placesOf(connection);
    this.#lingeringPlaces -= this.#lingering.get(connection) ?? 0;
    this.#lingering.delete(connection);
    this.#evictingPlaces -= this.#evicting.get(connection)?.places ?? 0;
    this.#evicting.delete(connection);
  }

  /** Makes room if need be. @returns whether there is room for a new socket, or for a connection to become one of HTTP/2. */
  hasRoom(kind: 'plain' | 'tls' | 'http2'): boolean {
    return this.#makeRoom(kind === 'http2' ? http2Places : this.#placesOfSocket(kind));
  }

  /** Chooses what is evicted for this many more places. @returns false, and chooses nothing, if that is not enough. */
  #makeRoom(wanted: number): boolean {
    const { max, clock } = this.#deps;
    let missing = this.places - this.#evictingPlaces + wanted - max;
    if (missing <= 0) return true;
    const idleSinceMs = clock.nowMs() - idleMs;
    const maxLingering = Math.max(max * lingeringShare, maxPlacesOfOne);
    let lingering = this.#lingeringPlaces;
    const chosen: Candidate[] = [];
    for (const candidate of this.#candidates()) {
      const { evictable, places } = candidate;
      if (this.#evicting.has(evictable) || !evictable.isEvictable(idleSinceMs)) continue;
      if (evictable.lingers) {
        if (lingering + places > maxLingering) continue;
        lingering += places;
      }
      chosen.push(candidate);
      missing -= places;
      if (missing <= 0) break;
    }
    if (missing > 0) return false;
    // What has come for the chosen ones by now is read first: then they are not idle.
    if (this.#evicting.size === 0) setImmediate(this.#evict);
    for (const candidate of chosen) {
      this.#evicting.set(candidate.evictable, { ...candidate, idleSinceMs });
      this.#evictingPlaces += candidate.places;
    }
    return true;
  }

  *#candidates(): Generator<Candidate> {
    const { handshakes } = this.#deps;
    let left = maxLooks;
    for (const evictable of handshakes?.oldestFirst ?? []) {
      if (left === 0) break;
      left -= 1;
      yield { evictable, places: this.#placesOfSocket('tls') };
    }
    left = Math.min(maxLooks, this.#all.size);
    for (const connection of this.#all) {
      if (left === 0) return;
      left -= 1;
      this.#all.delete(connection);
      this.#all.add(connection);
      yield { evictable: connection, places: this.#placesOf(connection), connection };
    }
  }

  readonly #evict = (): void => {
    const evicting = [...this.#evicting.values()];
    this.#evicting.clear();
    this.#evictingPlaces = 0;
    for (const { evictable, places, connection, idleSinceMs } of evicting) {
      if (!evictable.isEvictable(idleSinceMs)) continue;
      this.#deps.onEvicted();
      if (connection !== undefined && this.#all.delete(connection)) {
        this.#places -= places;
        if (connection.lingers) {
          this.#lingering.set(connection, places);
          this.#lingeringPlaces += places;
        }
      }
      evictable.evict();
    }
    // Others in place of those that have come to a call meanwhile.
    this.#makeRoom(0);
  };

  /** Never more than all, so that one always fits. */
  #placesOfSocket(kind: 'plain' | 'tls'): number {
    return Math.min(placesOfSocket(kind, this.#deps.http2), this.#deps.max);
  }

  #placesOf(connection: ClientConnection): number {
    return Math.min(placesOf(connection), this.#deps.max);
  }
}
