/**
 * The body of a request on a stream of HTTP/2: a little of it is read while the call waits, the window of the stream holds the
 * rest back until the app takes it. What the window lets in meanwhile counts as read ahead.
 */
import type { ServerHttp2Stream } from 'node:http2';
import type { RequestSink } from '../call/client-side.ts';
import { faultError, overloaded } from '../call/refusal.ts';
import { ownCopy } from '../io/socket-state.ts';
import { PausedReads } from '../io/paused-reads.ts';
import type { Trailers } from '../message/field-parser.ts';
import { isFault, trailersOf, type RawFields } from '../message/h2-heads.ts';
import { BodyFlow } from './body-flow.ts';
import type { ConnectionDeps } from './connection-deps.ts';

/** While its call waits, a stream is read up to here. */
const maxUnreadBytes = 16_384;
/** What a chunk costs besides its bytes. */
const chunkBytes = 256;
const nothing = Buffer.alloc(0);

export class H2Body {
  readonly #stream: ServerHttp2Stream;
  /** Called when too much was read ahead of all clients while the call waits. */
  readonly #refuseOverloaded: () => void;
  readonly #deps: ConnectionDeps;
  readonly #flow: BodyFlow;
  readonly #unread: Buffer[] = [];
  #unreadBytes = 0;
  #paused: PausedReads | undefined;
  /** What `readAhead` counts of both. */
  #countedBytes = 0;
  /** The client has sent all of the body. */
  #ended = false;
  #discarding = false;
  #trailers: Trailers | undefined;

  constructor(stream: ServerHttp2Stream, refuseOverloaded: () => void, deps: ConnectionDeps) {
    this.#stream = stream;
    this.#refuseOverloaded = refuseOverloaded;
    this.#deps = deps;
    this.#flow = new BodyFlow(stream, deps.limits, deps.routing.clock);
    this.#paused = new PausedReads(stream, () => this.#cameWhilePaused());
    stream.on('data', (chunk: Buffer) => this.#data(chunk));
    stream.on('trailers', (_fields, _flags, raw) => this.#trailersCame(raw));
    stream.on('end', () => this.#end());
  }

  /** No more of the body will come. */
  get ended(): boolean {
    return this.#ended;
  }

  send(sink: RequestSink): void {
    this.#flow.start(sink);
    if (!this.#flow.done) this.resume();
  }

  /** The sink has room for more. */
  resume(): void {
    const flow = this.#flow;
    while (flow.hasSink && this.#unread.length > 0) {
      const chunk = this.#unread.shift() as Buffer;
      this.#count(-chunk.length - chunkBytes);
      if (!this.#feed(chunk)) return;
    }
    if (!flow.hasSink || flow.done) return;
    if (this.#ended) {
      this.#finish();
      return;
    }
    flow.awaitMore();
    this.#stream.resume();
  }

  /** @param parts all that a sink had of the body, in order; the next one gets it again. */
  putBack(parts: readonly Buffer[]): void {
    this.#flow.stop();
    this.#unread.unshift(...parts);
    for (const part of parts) this.#count(part.length + chunkBytes);
    // The next sink hears of the end when it has had these.
    if (this.#ended) this.#flow.done = false;
  }

  /** The call has its answer, or its client has gone. */
  leave(): void {
    this.#flow.stop();
    this.#unread.length = 0;
    this.#paused = undefined;
    this.#count(-this.#unreadBytes);
  }

  /** Drops the rest of the body as it comes. */
  discard(): void {
    this.#discarding = true;
    this.#stream.resume();
  }

  checkDeadline(nowMs: number): void {
    if (nowMs >= this.#flow.deadlineMs) this.#flow.timeOut();
  }

  #data(chunk: Buffer): void {
    if (this.#discarding) return;
    if (this.#flow.hasSink && this.#unread.length === 0) {
      if (this.#countedBytes > 0) this.#count(0);
      this.#feed(chunk);
      return;
    }
    // Copied, since a chunk lies in what was read of the connection at once, which would be kept as a whole.
    this.#unread.push(ownCopy(chunk));
    this.#count(chunk.length + chunkBytes);
    if (this.#unreadBytes >= maxUnreadBytes) this.#stream.pause();
    if (this.#deps.readAhead.full && !this.#flow.hasSink) this.#refuseOverloaded();
  }

  #trailersCame(raw: RawFields): void {
    if (this.#flow.done || this.#discarding) return;
    const trailers = trailersOf(raw, this.#deps.limits);
    if (isFault(trailers)) this.#flow.fault(faultError(trailers));
    else this.#trailers = trailers;
  }

  #end(): void {
    // A reset ends the stream too, and must not look like the end of the body.
    if (this.#stream.closed || this.#stream.destroyed) return;
    this.#ended = true;
    if (this.#flow.hasSink && this.#unread.length === 0 && !this.#flow.done) this.#finish();
  }

  #finish(): void {
    this.#flow.pass(nothing, 0, 0, this.#trailers ?? 'no trailers');
  }

  /** @returns whether more may come at once. */
  #feed(chunk: Buffer): boolean {
    if (this.#flow.done) return false;
    return this.#flow.pass(chunk, 0, chunk.length, undefined);
  }

  /** The window has let in more than is wanted. */
  #cameWhilePaused(): void {
    this.#count(0);
    const { readAhead } = this.#deps;
    if (!this.#flow.hasSink) {
      if (readAhead.full) this.#refuseOverloaded();
    } else if (readAhead.over && !this.#flow.done) this.#flow.fault(overloaded());
  }

  #count(bytes: number): void {
    this.#unreadBytes += bytes;
    const now = this.#unreadBytes + (this.#paused?.bytes ?? 0);
    if (now !== this.#countedBytes) this.#deps.readAhead.take(now - this.#countedBytes);
    this.#countedBytes = now;
  }
}
