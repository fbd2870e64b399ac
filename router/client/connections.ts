/**
 * All connections of clients: as many as there is memory for. One by TLS or of HTTP/2 takes the places of several others, for so
 * much more does it keep. Where all places are taken, those make room for a newcomer that nobody misses: they have had no call for
 * a while, or have not come to one.
 */
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../shared/wait/clock.ts';
import type { ClientConnection, Evictable } from './connection-deps.ts';

/** Within 256 MiB; and for each MiB beyond, where the rest of a router wants more too. */
const leastPlaces = 10_500;
const leastMib = 256;
const placesOfMib = 50;
/** Beyond it the limit is that of no container. */
const mostMib = 65_536;

/**
 * @param memoryBytes that the container may have; as Node tells it, which is 0 or more than there is where it has no limit.
 * @returns places for all workers.
 */
export function placesWithin(memoryBytes: number, workers: number): number {
  const mib = Math.floor(memoryBytes / 2 ** 20);
  return leastPlaces + (mib > mostMib ? 0 : Math.max(0, mib - leastMib * workers) * placesOfMib);
}

export interface ConnectionsDeps {
  /** Places. */
  readonly max: number;
  /** Whether one by TLS may turn out to be of HTTP/2. */
  readonly http2: boolean;
  readonly clock: Clock;
  /** Connections of TLS that are not secure yet. */
  readonly handshakes: () => { readonly size: number; readonly oldest: Iterable<Evictable> } | undefined;
  readonly onEvicted: () => void;
}

/**
 * Of one by TLS: it keeps 55 kB, and up to 110 while much goes through it, where one without has 3.5 kB; calls not counted. And
 * what one of HTTP/2 takes besides: 30 kB, and its share of what its calls keep.
 */
const tlsPlaces = 14;
const http2Places = 8;
/** Without a call, before a connection makes room. */
const patienceMs = 2_000;
/** For one newcomer, so that many who find no room cost little; for the next one others are looked at. */
const looksOfOne = 64;
/** Of all places, beside them: those that linger when they have made room. Any one always may. */
const lingeringShare = 1 / 8;
const leastLingering = tlsPlaces + http2Places;

interface Leaving {
  readonly places: number;
  readonly idleSinceMs: number;
}

export class Connections {
  readonly #deps: ConnectionsDeps;
  /** Those at the end that were looked at last. */
  readonly #all = new Set<ClientConnection>();
  #places = 0;
  /** Asked to make room; they have their places until then. */
  readonly #leaving = new Map<Evictable, Leaving>();
  #leavingPlaces = 0;
  /** Have made room, with the places that they had. */
  readonly #lingering = new Map<Evictable, number>();
  #lingeringPlaces = 0;

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps;
  }

  /** With those that linger. */
  get size(): number {
    return this.#all.size + this.#lingering.size;
  }

  /** Taken, with those of handshakes. */
  get places(): number {
    return this.#places + (this.#deps.handshakes()?.size ?? 0) * this.#placesOf('tls');
  }

  *[Symbol.iterator](): Generator<ClientConnection> {
    yield* this.#all;
    yield* this.#lingering.keys() as Iterable<ClientConnection>;
  }

  add(connection: ClientConnection): void {
    this.#all.add(connection);
    this.#places += this.#placesOf(connection);
  }

  delete(connection: ClientConnection): void {
    if (this.#all.delete(connection)) this.#places -= this.#placesOf(connection);
    this.#lingeringPlaces -= this.#lingering.get(connection) ?? 0;
    this.#lingering.delete(connection);
    this.#leavingPlaces -= this.#leaving.get(connection)?.places ?? 0;
    this.#leaving.delete(connection);
  }

  /** Whether there is room for one more, or for one of these to become one of HTTP/2; made if need be. */
  hasRoom(kind: 'plain' | 'tls' | 'http2'): boolean {
    return this.#find(kind === 'http2' ? http2Places : this.#placesOf(kind));
  }

  /** Chooses those who make room for so many more, if there are enough. */
  #find(wanted: number): boolean {
    const { max, clock } = this.#deps;
    let missing = this.places - this.#leavingPlaces + wanted - max;
    if (missing <= 0) return true;
    const idleSinceMs = clock.nowMs() - patienceMs;
    const mayLinger = Math.max(max * lingeringShare, leastLingering);
    let lingering = this.#lingeringPlaces;
    const chosen = new Map<Evictable, number>();
    for (const [evictable, places] of this.#looks()) {
      if (this.#leaving.has(evictable) || !evictable.isEvictable(idleSinceMs)) continue;
      if (evictable.lingers) {
        if (lingering + places > mayLinger) continue;
        lingering += places;
      }
      chosen.set(evictable, places);
      missing -= places;
      if (missing <= 0) break;
    }
    if (missing > 0) return false;
    // What has come for them by now is read first: they are not idle then.
    if (this.#leaving.size === 0) setImmediate(this.#close);
    for (const [evictable, places] of chosen) {
      this.#leaving.set(evictable, { places, idleSinceMs });
      this.#leavingPlaces += places;
    }
    return true;
  }

  *#looks(): Generator<readonly [Evictable, number]> {
    let left = looksOfOne;
    for (const handshake of this.#deps.handshakes()?.oldest ?? []) {
      if (left === 0) break;
      left -= 1;
      yield [handshake, this.#placesOf('tls')];
    }
    left = Math.min(looksOfOne, this.#all.size);
    for (const connection of this.#all) {
      if (left === 0) return;
      left -= 1;
      this.#all.delete(connection);
      this.#all.add(connection);
      yield [connection, this.#placesOf(connection)];
    }
  }

  readonly #close = (): void => {
    const leaving = [...this.#leaving];
    this.#leaving.clear();
    this.#leavingPlaces = 0;
    for (const [evictable, { places, idleSinceMs }] of leaving) {
      if (!evictable.isEvictable(idleSinceMs)) continue;
      this.#deps.onEvicted();
      if (this.#all.delete(evictable as ClientConnection)) {
        this.#places -= places;
        if (evictable.lingers) {
          this.#lingering.set(evictable, places);
          this.#lingeringPlaces += places;
        }
      }
      evictable.evict();
    }
    // Instead of those that have come to a call meanwhile.
    this.#find(0);
  };

  /** Of one that has just come, what it may turn out to take: one always fits. */
  #placesOf(of: 'plain' | 'tls' | ClientConnection): number {
    const { http2, max } = this.#deps;
    if (of === 'plain') return 1;
    if (of === 'tls') return Math.min(tlsPlaces + (http2 ? http2Places : 0), max);
    const own = of.socket instanceof TLSSocket ? tlsPlaces : 1;
    return Math.min(own + (of.isHttp2 ? http2Places : 0), max);
  }
}
