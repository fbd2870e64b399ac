/** Reads the heads of requests, one after the other, from the bytes of a connection, and keeps each until its call has its answer. */
import { faultRefusal, type Refusal } from '../call/refusal.ts';
import type { PeerIdentity } from '../message/peer-identity.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { RequestParser } from '../message/request-parser.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import { PartialHead, tooLarge } from './h1-partial-head.ts';
import { countedHeadBytes, takeHead } from './request-intake.ts';

const noBytes = Buffer.alloc(0);
/** Blocks grow by this, a power of two. */
const blockStep = 256;
/** Keep blocks up to this size from one call to the next. */
const keptBlockBytes = 4_096;

export class H1HeadReader {
  readonly #client: PeerIdentity;
  readonly #deps: Pick<ConnectionDeps, 'limits' | 'heads' | 'readAhead'>;
  /** Begins with the last head; behind it is what else is kept of its request. */
  #block: Buffer = noBytes;
  /** Offset in the last chunk of the first byte behind what is kept. */
  rest = 0;
  /** End of the body in `block` if all of it is kept behind the head; else 0. */
  bodyEnd = 0;
  #partial: PartialHead | undefined;
  /** What came of a refused head before its last chunk. */
  #before: Buffer = noBytes;

  constructor(client: PeerIdentity, deps: Pick<ConnectionDeps, 'limits' | 'heads' | 'readAhead'>) {
    this.#client = client;
    this.#deps = deps;
  }

  /**
   * @param chunk what has come next; it may be overwritten when this returns.
   * @returns the head, which is kept until `release`; why there is none; or undefined while it is not whole.
   */
  read(chunk: Buffer): RequestHead | Refusal | undefined {
    if (this.#partial !== undefined) return this.#readMore(this.#partial, chunk);
    const { heads, limits, readAhead } = this.#deps;
    const parser = heads.begin();
    switch (parser.parse(chunk, chunk.length)) {
      case 'done':
        if (parser.end > limits.maxHeaderBytes) return faultRefusal(tooLarge(parser.targetEnd > limits.maxHeaderBytes));
        this.#keep(chunk, parser);
        return takeHead(parser, this.#block, this.#client, this.#deps);
      case 'bad':
        return faultRefusal(parser.fault);
      case 'more':
        this.#partial = new PartialHead(limits, readAhead, chunk);
        return this.#readMore(this.#partial, chunk);
    }
  }

  /** @returns all that has come of a head that was refused. @param chunk the last one of it. */
  received(chunk: Buffer): Buffer {
    return this.#before.length === 0 ? chunk : Buffer.concat([this.#before, chunk]);
  }

  /** The head is not needed any more; its block may serve the next one. */
  release(): void {
    if (this.#block.length > keptBlockBytes) this.#drop();
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

  #readMore(partial: PartialHead, chunk: Buffer): RequestHead | Refusal | undefined {
    const { received } = partial;
    const added = partial.add(chunk);
    if (added === 'more') return undefined;
    if (typeof added !== 'number') {
      this.#before = received;
      return faultRefusal(added);
    }
    this.stop();
    this.#drop();
    this.#block = partial.block;
    this.#deps.readAhead.take(countedHeadBytes(this.#block.length));
    this.rest = added;
    this.bodyEnd = 0;
    return takeHead(partial.parser, this.#block, this.#client, this.#deps);
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
    if (this.#block.length < length) {
      this.#drop();
      this.#block = Buffer.allocUnsafeSlow((length + blockStep) & -blockStep);
      readAhead.take(countedHeadBytes(this.#block.length));
    }
    chunk.copy(this.#block, 0, 0, length);
    this.rest = length;
    this.bodyEnd = withBody ? whole : 0;
  }

  #drop(): void {
    this.#deps.readAhead.take(-countedHeadBytes(this.#block.length));
    this.#block = noBytes;
  }
}
