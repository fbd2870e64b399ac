/** Reads the heads of requests, one after the other, from the bytes of a connection, and keeps each until its call has its answer. */
import type { Fault, Progress } from '../message/field-parser.ts';
import type { RequestHeads } from '../message/request-head.ts';
import type { RequestParser } from '../message/request-parser.ts';
import { PartialHead, tooLarge } from './h1-partial-head.ts';
import type { ReadAhead } from '../io/read-ahead.ts';
import { countedHeadBytes } from './request-intake.ts';

const noBytes = Buffer.alloc(0);
/** Blocks grow by this, a power of two. */
const blockStep = 256;
/** Keep blocks up to this size from one call to the next. */
const keptBlockBytes = 4_096;

interface HeadReaderDeps {
  readonly limits: { readonly maxHeaderBytes: number; readonly maxFields: number };
  readonly heads: RequestHeads;
  readonly readAhead: ReadAhead;
}

export class HeadReader {
  readonly #deps: HeadReaderDeps;
  /** Begins with the last head; behind it is what else is kept of its request. */
  block: Buffer = noBytes;
  /** Has parsed the last head if that came in parts; kept until `takeParser`. */
  #ownParser: RequestParser | undefined;
  /** Offset in the last chunk of the first byte behind what is kept. */
  rest = 0;
  /** End of the body in `block` if all of it is kept behind the head; else 0. */
  bodyEnd = 0;
  /** Why the last head was bad. */
  fault: Fault | undefined;
  #partial: PartialHead | undefined;
  /** What came of a bad head before its last chunk. */
  #before: Buffer = noBytes;

  constructor(deps: HeadReaderDeps) {
    this.#deps = deps;
  }

  /** @param chunk what has come next; it may be overwritten when this returns. */
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

  /** @returns the parser of the last head, good until the next head is parsed. */
  takeParser(): RequestParser {
    const parser = this.#ownParser ?? this.#deps.heads.parser;
    this.#ownParser = undefined;
    return parser;
  }

  /** @returns all that has come of a bad head. @param chunk the last one of it. */
  received(chunk: Buffer): Buffer {
    return this.#before.length === 0 ? chunk : Buffer.concat([this.#before, chunk]);
  }

  /** The head is not needed any more; its block may serve the next one. */
  release(): void {
    if (this.block.length > keptBlockBytes) this.#drop();
  }

  /** Drops a head that is not whole. */
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

  /** Keeps the head, and its body too if that is small and has come with it. */
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
