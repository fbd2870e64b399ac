/**
 * Bytes of clients that were read before anybody wanted them, of all connections: heads that are not whole, first bytes of
 * bodies of calls that wait, requests behind one that is not answered. Each connection has a small part by itself; this is
 * what they may have together.
 */
export class ReadAhead {
  readonly #maxBytes: number;
  #bytes = 0;

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

  /** @param bytes less than 0 for those that are wanted now, or gone. */
  take(bytes: number): void {
    this.#bytes += bytes;
  }
}
