/** Places: the memory of connections as a number, so that one limit bounds connections of all kinds. */
import { TLSSocket } from 'node:tls';
import type { ClientConnection } from './connection-deps.ts';

/** What fits into 256 MiB, and into each MiB beyond, where the rest of a router needs more too. */
const minPlaces = 10_500;
/** Held calls take a place each; some are left for calls that are answered at once. */
const minHeldCalls = 10_000;
const minMib = 256;
const placesPerMib = 50;
/** A higher limit of memory is that of no container. */
const maxMib = 65_536;

/**
 * @param memoryBytes that the container may have, as Node reports it: 0, or more than there is, where it has no limit.
 * @returns places for all workers.
 */
export function placesWithin(memoryBytes: number, workers: number): number {
  return minPlaces + placesBeyond(memoryBytes, workers);
}

/** @returns calls that all workers may hold. */
export function heldCallsWithin(memoryBytes: number, workers: number): number {
  return minHeldCalls + placesBeyond(memoryBytes, workers);
}

function placesBeyond(memoryBytes: number, workers: number): number {
  const mib = Math.floor(memoryBytes / 2 ** 20);
  return mib > maxMib ? 0 : Math.max(0, mib - minMib * workers) * placesPerMib;
}

/**
 * A connection over TLS keeps 55 kB, and up to 110 while much goes through it, where one without keeps 3.5 kB, calls not counted.
 * HTTP/2 takes another 30 kB, and its share of what its calls keep.
 */
const tlsPlaces = 14;
export const http2Places = 8;
export const maxPlacesOfOne = tlsPlaces + http2Places;

/** @returns what a new socket may turn out to take. */
export function placesOfSocket(kind: 'plain' | 'tls', offersHttp2: boolean): number {
  if (kind === 'plain') return 1;
  return tlsPlaces + (offersHttp2 ? http2Places : 0);
}

export function placesOf({ socket, isHttp2 }: ClientConnection): number {
  return (socket instanceof TLSSocket ? tlsPlaces : 1) + (isHttp2 ? http2Places : 0);
}
