/**
 * All connections of clients: as many as there is memory for. One by TLS or of HTTP/2 takes the places of several others, for so
 * much more does it keep. Where all places are taken, those make room for a newcomer that nobody misses: they have had no call for a while, or
 * have not come to one.
 */
import { TLSSocket } from 'node:tls';
import type { Clock } from '../../shared/clock.ts';
import type { ClientConnection } from './connection-deps.ts';

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
  readonly clock: Clock;
  /** Connections of TLS that are not secure yet. */
  readonly handshakes: () => { readonly size: number; giveWay(idleSinceMs: number): boolean } | undefined;
  readonly onGaveWay: () => void;
}

export class Connections {
  readonly #deps: ConnectionsDeps;
  /** Those at the end that were looked at last. */
  readonly #all = new Set<ClientConnection>();
  #places = 0;

  constructor(deps: ConnectionsDeps) {
    this.#deps = deps;
  }

  get size(): number {
    return this.#all.size;
  }

  /** Taken, with those of handshakes. */
  get places(): number {
    return this.#places + (this.#deps.handshakes()?.size ?? 0) * this.#newPlaces(true);
  }

  [Symbol.iterator](): IterableIterator<ClientConnection> {
    return this.#all.values();
  }

  add(connection: ClientConnection): void {
    this.#all.add(connection);
    this.#places += this.#placesOf(connection);
  }

  delete(connection: ClientConnection): void {
    if (this.#all.delete(connection)) this.#places -= this.#placesOf(connection);
  }

  /** Whether there is room for one more, made if need be. */
  hasRoom(byTls: boolean): boolean {
    const { max, clock, handshakes, onGaveWay } = this.#deps;
    const most = max - this.#newPlaces(byTls);
    if (this.places <= most) return true;
    const idleSinceMs = clock.nowMs() - patienceMs;
    while (handshakes()?.giveWay(idleSinceMs) === true) {
      onGaveWay();
      if (this.places <= most) return true;
    }
    let looks = Math.min(looksOfOne, this.#all.size);
    for (const connection of this.#all) {
      if (looks === 0) break;
      looks -= 1;
      this.#all.delete(connection);
      if (!connection.giveWay(idleSinceMs)) {
        this.#all.add(connection);
        continue;
      }
      this.#places -= this.#placesOf(connection);
      onGaveWay();
      if (this.places <= most) return true;
    }
    return false;
  }

  /** Of one that has just come: one always fits. */
  #newPlaces(byTls: boolean): number {
    return byTls ? Math.min(tlsPlaces, this.#deps.max) : 1;
  }

  #placesOf({ socket, isHttp2 }: ClientConnection): number {
    return this.#newPlaces(socket instanceof TLSSocket) + (isHttp2 ? http2Places : 0);
  }
}
