/**
 * Bytes of clients that were read before anybody wanted them, of all connections: heads that are not whole, first bytes of
 * bodies of calls that wait, requests behind one that is not answered. Each connection has a small part by itself; this is
 * what they may have together.
 */
const over = 1.25;

export class ReadAhead {
  readonly #maxBytes: number;
  #bytes = 0;
  #granted = 0;
  #grantedAtMs = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Nobody new may wait. */
  get full(): boolean {
    return this.#bytes >= this.#maxBytes;
  }

  /** So much that those who were let in have to go. */
  get over(): boolean {
    return this.#bytes >= this.#maxBytes * over;
  }

  /** There is room for what only spares a second try. */
  get ample(): boolean {
    return this.#bytes < this.#maxBytes / 4;
  }

  /** Whether one who waits may read so much more: of a part of the whole, since a new one should find room. */
  grant(bytes: number, nowMs: number): boolean {
    if (nowMs !== this.#grantedAtMs) this.#granted = 0;
    this.#grantedAtMs = nowMs;
    // What was granted at the same time has not come yet.
    if (this.#bytes + this.#granted + bytes > this.#maxBytes / 4) return false;
    this.#granted += bytes;
    return true;
  }

  /** @param bytes less than 0 for those that are wanted now, or gone. */
  take(bytes: number): void {
    this.#bytes += bytes;
  }
}
