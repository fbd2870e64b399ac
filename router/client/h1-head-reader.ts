/** Heads of requests, one after the other, out of what is read of a connection: each kept until its call has its answer. */
import type { Fault, Progress } from '../message/field-parser.ts';
import type { RequestHeads } from '../message/request-head.ts';
import type { RequestParser } from '../message/request-parser.ts';
import { PartialHead, tooLarge } from './h1-partial-head.ts';
import type { ReadAhead } from '../io/read-ahead.ts';
import { countedHeadBytes } from './request-intake.ts';

const noBytes = Buffer.alloc(0);
/** A power of two. */
const blockStep = 256;
/** A block that is larger is not kept from one call to the next. */
const keptBlockBytes = 4_096;

interface HeadReaderDeps {
  readonly limits: { readonly maxHeaderBytes: number; readonly maxFields: number };
  readonly heads: RequestHeads;
  readonly readAhead: ReadAhead;
}

export class HeadReader {
  readonly #deps: HeadReaderDeps;
  /** The last head that came whole, from the beginning, and behind it what else is kept of its request. */
  block: Buffer = noBytes;
  /** Holds the last head if that came in parts, until it is taken. */
  #ownParser: RequestParser | undefined;
  /** Where in the chunk that begins which is behind it. */
  rest = 0;
  /** The end of the body, where all of it is kept behind the head; else 0. */
  bodyEnd = 0;
  fault: Fault | undefined;
  #partial: PartialHead | undefined;
  /** Of a head that turned out bad. */
  #before: Buffer = noBytes;

  constructor(deps: HeadReaderDeps) {
    this.#deps = deps;
  }

  /** @param chunk what has come next, which may be read over afterwards. */
  read(chunk: Buffer): Progress {
    if (this.#partial !== undefined) return this.#readMore(this.#partial, chunk);
    const { heads, limits, readAhead } = this.#deps;
    const parser = heads.begin();
    const progress = parser.parse(chunk, chunk.length);
    switch (progress) {
      case 'done':
        if (parser.end > limits.maxHeaderBytes) return this.#bad(tooLarge(parser.targetEnd > limits.maxHeaderBytes));
        this.#keep(chunk, parser);
        return progress;
      case 'bad':
        this.#before = noBytes;
        return this.#bad(parser.fault);
      case 'more':
        this.#partial = new PartialHead(limits, readAhead, chunk);
        return this.#readMore(this.#partial, chunk);
    }
  }

  /** @returns the parser that holds the head for now. */
  takeParser(): RequestParser {
    const parser = this.#ownParser ?? this.#deps.heads.parser;
    this.#ownParser = undefined;
    return parser;
  }

  /** All that has come of a head that is none, with the chunk that showed it. */
  received(chunk: Buffer): Buffer {
    return this.#before.length === 0 ? chunk : Buffer.concat([this.#before, chunk]);
  }

  /** The head is not needed any more; its block may be for the next one. */
  release(): void {
    if (this.block.length > keptBlockBytes) this.#drop();
  }

  /** A head that is not whole is not read on. */
  stop(): void {
    this.#partial?.drop();
    this.#partial = undefined;
  }

  close(): void {
    this.stop();
    this.#drop();
  }

  #readMore(partial: PartialHead, chunk: Buffer): Progress {
    const { received } = partial;
    const added = partial.add(chunk);
    if (added === 'more') return added;
    if (typeof added !== 'number') {
      this.#before = received;
      return this.#bad(added);
    }
    this.stop();
    this.#drop();
    this.block = partial.block;
    this.#deps.readAhead.take(countedHeadBytes(this.block.length));
    this.#ownParser = partial.parser;
    this.rest = added;
    this.bodyEnd = 0;
    return 'done';
  }

  #bad(fault: Fault | undefined): 'bad' {
    this.fault = fault;
    return 'bad';
  }

  /** The head, and its body where that is small and has come too. */
  #keep(chunk: Buffer, parser: RequestParser): void {
    const { readAhead } = this.#deps;
    const { end, framing } = parser;
    const whole = end + framing.contentLength;
    const withBody =
      !framing.chunked &&
      framing.contentLength > 0 &&
      whole <= Math.min(chunk.length, keptBlockBytes) &&
      !readAhead.full;
    const length = withBody ? whole : end;
    if (this.block.length < length) {
      this.#drop();
      this.block = Buffer.allocUnsafeSlow((length + blockStep) & -blockStep);
      readAhead.take(countedHeadBytes(this.block.length));
    }
    chunk.copy(this.block, 0, 0, length);
    this.rest = length;
    this.bodyEnd = withBody ? whole : 0;
  }

  #drop(): void {
    this.#deps.readAhead.take(-countedHeadBytes(this.block.length));
    this.block = noBytes;
  }
}
