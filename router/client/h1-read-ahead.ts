/** What was read of one client before it is wanted, in its order, counted with that of all others; and whether to read on. */
import type { Socket } from 'node:net';
import { endIfReset, ownCopy, pauseReading, resumeReading } from '../io/direct-io.ts';
import type { ReadAhead } from '../io/read-ahead.ts';

/** While a call waits, its connection is read up to here at first. */
const firstBytes = 16_384;
/** And up to here as time goes by: the end of a client that has left is behind all that it has sent. */
const mostBytes = 1_048_576;
/** What comes at once by one read. */
const mostOfRead = 65_536;
/** What a chunk costs besides its bytes: a client can have each byte come by itself. */
const chunkBytes = 256;
/** Between two looks whether a client that is held up is there at all. */
const lookMs = 1_000;

export class ReadAheadQueue {
  readonly #socket: Socket;
  readonly #readAhead: ReadAhead;
  #chunks: Buffer[] | undefined;
  #bytes = 0;
  #paused = false;
  #maxBytes = firstBytes;
  /** In the paused socket itself, when last looked at: one read more, which of TLS comes in several parts. */
  #behind = 0;
  #nextLookMs = 0;

  constructor(socket: Socket, readAhead: ReadAhead) {
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

  /** Before all others: what is left of one that was taken. */
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

  /** For a look at it now and then: counts what the socket has read beyond its pause, and sees whether its client has reset it. */
  lookBehind(nowMs: number): void {
    this.#countBehind(this.#paused ? this.#socket.readableLength : 0);
    if (!this.#paused || nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs + lookMs;
    endIfReset(this.#socket);
  }

  pauseIfMany(): void {
    if (this.#bytes >= this.#maxBytes) this.pause();
  }

  /** Reads on by as much again where it was held up, while there is room for that beside what others need. */
  readFurther(nowMs: number): void {
    if (!this.#paused) return;
    // Held up for another reason, which is over.
    if (this.#bytes < this.#maxBytes) return this.resume();
    if (this.#maxBytes >= mostBytes) return;
    if (!this.#readAhead.grant(this.#maxBytes + mostOfRead, nowMs)) return;
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
    this.#maxBytes = firstBytes;
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
