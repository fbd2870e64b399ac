/** The part of a request body that was sent, kept for another attempt until the app answers. It counts as read ahead. */
import type { RequestSource } from '../call/client-side.ts';
import type { ReadAhead } from '../io/read-ahead.ts';

export class KeptBody {
  readonly #readAhead: ReadAhead;
  readonly #maxBytes: number;
  /** undefined if not all of it is kept. */
  #parts: Buffer[] | undefined = [];
  #bytes = 0;

  constructor(readAhead: ReadAhead, maxBytes: number) {
    this.#readAhead = readAhead;
    this.#maxBytes = maxBytes;
  }

  add(part: Buffer): void {
    if (this.#parts === undefined) return;
    if (this.#bytes + part.length > this.#maxBytes || !this.#readAhead.ample) {
      this.drop();
      return;
    }
    this.#parts.push(part);
    this.#bytes += part.length;
    this.#readAhead.take(part.length);
  }

  drop(): void {
    this.#readAhead.take(-this.#bytes);
    this.#bytes = 0;
    this.#parts = undefined;
  }

  /** @returns false if not all of the body is kept, or its source does not take it back. */
  giveBack(source: RequestSource): boolean {
    return this.#parts !== undefined && source.putBack?.(this.#parts) === true;
  }
}
