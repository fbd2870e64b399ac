/** What was read of one client before it is wanted, in its order, counted with that of all others; and whether to read on. */
import type { Socket } from 'node:net';
import type { ReadAhead } from './read-ahead.ts';

/** While a call waits, its connection is read up to here. */
const maxBytes = 16_384;
/** What a chunk costs besides its bytes: a client can have each byte come by itself. */
const chunkBytes = 256;

export class Unread {
  readonly #socket: Socket;
  readonly #readAhead: ReadAhead;
  #chunks: Buffer[] | undefined;
  #bytes = 0;
  #paused = false;

  constructor(socket: Socket, readAhead: ReadAhead) {
    this.#socket = socket;
    this.#readAhead = readAhead;
  }

  get empty(): boolean {
    return this.#chunks === undefined;
  }

  push(chunk: Buffer): void {
    (this.#chunks ??= []).push(chunk);
    this.#count(chunk.length + chunkBytes);
    this.pauseIfMany();
  }

  /** Before all others: what is left of one that was taken. */
  unshift(chunk: Buffer): void {
    (this.#chunks ??= []).unshift(chunk);
    this.#count(chunk.length + chunkBytes);
  }

  shift(): Buffer | undefined {
    const chunk = this.#chunks?.shift();
    if (this.#chunks?.length === 0) this.#chunks = undefined;
    if (chunk !== undefined) this.#count(-chunk.length - chunkBytes);
    return chunk;
  }

  drop(): void {
    this.#chunks = undefined;
    this.#count(-this.#bytes);
  }

  pauseIfMany(): void {
    if (this.#bytes >= maxBytes) this.pause();
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket.resume();
  }

  #count(bytes: number): void {
    if (bytes === 0) return;
    this.#bytes += bytes;
    this.#readAhead.take(bytes);
  }
}
