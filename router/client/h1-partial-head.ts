/** A request head that has come in part, in bytes of its own, which grow with it up to the limit. */
import { RequestParser } from '../message/request-parser.ts';
import type { Fault } from '../message/field-parser.ts';
import type { ReadAhead } from '../io/read-ahead.ts';

const minBytes = 1_024;

export class PartialHead {
  readonly parser: RequestParser;
  readonly #maxBytes: number;
  readonly #readAhead: ReadAhead;
  #block: Buffer;
  #length = 0;

  constructor(
    limits: { readonly maxHeaderBytes: number; readonly maxFields: number },
    readAhead: ReadAhead,
    chunk: Buffer,
  ) {
    this.parser = new RequestParser(limits);
    this.parser.begin(0);
    this.#maxBytes = limits.maxHeaderBytes;
    this.#readAhead = readAhead;
    this.#block = Buffer.allocUnsafeSlow(Math.min(this.#maxBytes, Math.max(minBytes, 2 * chunk.length)));
    readAhead.take(this.#block.length);
  }

  get block(): Buffer {
    return this.#block;
  }

  get received(): Buffer {
    return this.#block.subarray(0, this.#length);
  }

  /** @returns the offset in the chunk of the first byte behind the head; 'more' while it is not whole; or why it is refused. */
  add(chunk: Buffer): number | 'more' | Fault {
    const before = this.#length;
    const count = Math.min(chunk.length, this.#maxBytes - before);
    if (before + count > this.#block.length) this.#grow(before + count);
    chunk.copy(this.#block, before, 0, count);
    this.#length += count;
    switch (this.parser.parse(this.#block, this.#length)) {
      case 'done':
        return this.parser.end - before;
      case 'bad':
        return this.parser.fault ?? { status: 400, what: 'not valid HTTP' };
      case 'more':
        return this.#length < this.#maxBytes ? 'more' : tooLarge(this.parser.inFirstLine);
    }
  }

  drop(): void {
    this.#readAhead.take(-this.#block.length);
  }

  #grow(needed: number): void {
    const block = Buffer.allocUnsafeSlow(Math.min(this.#maxBytes, 2 * needed));
    this.#block.copy(block, 0, 0, this.#length);
    this.#readAhead.take(block.length - this.#block.length);
    this.#block = block;
  }
}

export function tooLarge(inRequestLine: boolean): Fault {
  return inRequestLine
    ? { status: 414, what: 'the request line is over the limit' }
    : { status: 431, what: 'the header section is over the limit' };
}
