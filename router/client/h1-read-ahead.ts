/**
 * What was read of one client before it is wanted, in order. It counts in what is read ahead of all clients, and decides whether
 * the connection reads on.
 */
import type { Socket } from 'node:net';
import type { ClientSockets } from '../io/client-socket.ts';
import { ownCopy, pauseReading, resumeReading } from '../io/socket-state.ts';
import type { ReadAhead } from '../io/read-ahead.ts';

/** While a call waits, its connection is read this far at first. */
const initialBytes = 16_384;
/** It is read this far as time goes by: the end of a client that has left is behind all that it has sent. */
const maxBytes = 1_048_576;
/** One read brings at most this much. */
const readBytes = 65_536;
/** A chunk costs this much besides its bytes, and a client can send each byte as a chunk. */
const chunkBytes = 256;
/** Check this often whether the client of a paused connection is still there. */
const lookMs = 1_000;

export class ReadAheadQueue {
  readonly #socket: Socket;
  readonly #readAhead: ReadAhead;
  readonly #sockets: ClientSockets;
  #chunks: Buffer[] | undefined;
  #bytes = 0;
  #paused = false;
  #maxBytes = initialBytes;
  /** What the paused socket itself had at the last look: one more read, which comes in several parts over TLS. */
  #behind = 0;
  #nextLookMs = 0;

  constructor(socket: Socket, readAhead: ReadAhead, sockets: ClientSockets) {
    this.#sockets = sockets;
    this.#socket = socket;
    this.#readAhead = readAhead;
  }

  get empty(): boolean {
    return this.#chunks === undefined;
  }

  /** @param chunk is copied. */
  push(chunk: Buffer): void {
    (this.#chunks ??= []).push(ownCopy(chunk));
    this.#count(chunk.length + chunkBytes);
    this.pauseIfMany();
  }

  /** Puts back, before all others, what is left of a chunk that was taken. It is copied. */
  unshift(chunk: Buffer): void {
    (this.#chunks ??= []).unshift(ownCopy(chunk));
    this.#count(chunk.length + chunkBytes);
  }

  shift(): Buffer | undefined {
    const chunk = this.#chunks?.shift();
    if (this.#chunks?.length === 0) this.#empty();
    if (chunk !== undefined) this.#count(-chunk.length - chunkBytes);
    return chunk;
  }

  drop(): void {
    this.#empty();
    this.#count(-this.#bytes);
    this.#countBehind(0);
  }

  /** Counts what the paused socket has read beyond its pause, and ends it if its client has reset it. Call it now and then. */
  lookBehind(nowMs: number): void {
    this.#countBehind(this.#paused ? this.#socket.readableLength : 0);
    if (!this.#paused || nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs + lookMs;
    this.#sockets.endIfReset(this.#socket);
  }

  pauseIfMany(): void {
    if (this.#bytes >= this.#maxBytes) this.pause();
  }

  /** Reads on by as much again after a pause, while there is room for that beside what others need. */
  readFurther(nowMs: number): void {
    if (!this.#paused) return;
    // It was paused for another reason, which is over.
    if (this.#bytes < this.#maxBytes) return this.resume();
    if (this.#maxBytes >= maxBytes) return;
    if (!this.#readAhead.grant(this.#maxBytes + readBytes, nowMs)) return;
    this.#maxBytes *= 2;
    if (this.#bytes < this.#maxBytes) this.resume();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    pauseReading(this.#socket);
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#countBehind(0);
    resumeReading(this.#socket);
  }

  #empty(): void {
    this.#chunks = undefined;
    this.#maxBytes = initialBytes;
  }

  #countBehind(bytes: number): void {
    if (bytes === this.#behind) return;
    this.#readAhead.take(bytes - this.#behind);
    this.#behind = bytes;
  }

  #count(bytes: number): void {
    if (bytes === 0) return;
    this.#bytes += bytes;
    this.#readAhead.take(bytes);
  }
}
