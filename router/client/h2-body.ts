/**
 * The body of a call on its way from a stream: a little is read while the call waits, the rest is held up by the window of
 * the stream until the app takes it. What the window lets in meanwhile counts as read ahead.
 */
import type { ServerHttp2Stream } from 'node:http2';
import type { Clock } from '../../shared/wait/clock.ts';
import { AppError } from '../../shared/errors.ts';
import type { RequestSink } from '../call/client-side.ts';
import type { ConnectionLimits } from './connection-deps.ts';
import type { Trailers } from '../message/field-parser.ts';
import type { ReadAhead } from '../io/read-ahead.ts';
import { faultError, overloaded } from '../call/refusal.ts';
import { ownCopy } from '../io/direct-io.ts';
import { isFault, trailersOf, type RawFields } from '../message/h2-heads.ts';
import { PausedReads } from '../io/paused-reads.ts';

/** While a call waits, its stream is read up to here. */
const maxUnreadBytes = 16_384;
/** What a chunk costs besides its bytes. */
const chunkBytes = 256;
const nothing = Buffer.alloc(0);

export interface StreamBodyDeps {
  readonly limits: ConnectionLimits;
  readonly readAhead: ReadAhead;
  readonly clock: Clock;
  /** Too much was read ahead of all clients together. */
  readonly onTooMuch: () => void;
}

export class StreamBody {
  /** For the client to go on with it. */
  deadlineMs = Infinity;
  readonly #stream: ServerHttp2Stream;
  readonly #deps: StreamBodyDeps;
  #sink: RequestSink | undefined;
  readonly #unread: Buffer[] = [];
  #unreadBytes = 0;
  #paused: PausedReads | undefined;
  /** Of both, as it is counted. */
  #countedBytes = 0;
  /** The client has ended it. */
  #ended: boolean;
  /** The sink has been told so, or nothing more may be told. */
  #done: boolean;
  #discarding = false;
  #trailers: Trailers | undefined;
  #untilMs = Infinity;

  /** @param open whether there is one. */
  constructor(stream: ServerHttp2Stream, open: boolean, deps: StreamBodyDeps) {
    this.#stream = stream;
    this.#deps = deps;
    this.#done = !open;
    this.#ended = !open;
    if (!open) return;
    this.#paused = new PausedReads(stream, () => this.#heldUp());
    stream.on('data', (chunk: Buffer) => this.#data(chunk));
    stream.on('trailers', (_fields, _flags, raw) => this.#trailersCame(raw));
    stream.on('end', () => this.#end());
  }

  /** Nothing more of it will come. */
  get ended(): boolean {
    return this.#ended;
  }

  get sink(): RequestSink | undefined {
    return this.#sink;
  }

  send(sink: RequestSink): void {
    this.#sink = sink;
    if (this.#done) return;
    const { bodyTimeoutMs } = this.#deps.limits;
    const nowMs = this.#deps.clock.nowMs();
    this.#untilMs = bodyTimeoutMs === 0 ? Infinity : nowMs + bodyTimeoutMs;
    this.#awaitMore(nowMs);
    this.resume();
  }

  /** The sink takes more. */
  resume(): void {
    while (this.#sink !== undefined && this.#unread.length > 0) {
      const chunk = this.#unread.shift() as Buffer;
      this.#count(-chunk.length - chunkBytes);
      if (!this.#feed(chunk)) return;
    }
    if (this.#sink === undefined || this.#done) return;
    if (this.#ended) {
      this.#finish();
      return;
    }
    this.#awaitMore(this.#deps.clock.nowMs());
    this.#stream.resume();
  }

  /**
   * What was sent of it was not looked at by anybody: it goes to the next sink again.
   * @param parts in their order, all of it until now.
   */
  putBack(parts: readonly Buffer[]): void {
    this.#sink = undefined;
    this.deadlineMs = Infinity;
    this.#unread.unshift(...parts);
    for (const part of parts) this.#count(part.length + chunkBytes);
    // Told anew when the next sink has had these.
    if (this.#ended) this.#done = false;
  }

  /** The client has not gone on with it in time. */
  timeOut(): void {
    this.#fault(new AppError('request_timeout', 'The request body did not arrive in time.'));
  }

  /** The call has its answer, or its client has gone. */
  leave(): void {
    this.#sink = undefined;
    this.deadlineMs = Infinity;
    this.#unread.length = 0;
    this.#paused = undefined;
    this.#count(-this.#unreadBytes);
  }

  /** What is left of it is thrown away. */
  discard(): void {
    this.#discarding = true;
    this.#stream.resume();
  }

  #data(chunk: Buffer): void {
    if (this.#discarding) return;
    if (this.#sink !== undefined && this.#unread.length === 0) {
      if (this.#countedBytes > 0) this.#count(0);
      this.#feed(chunk);
      return;
    }
    // In bytes of its own: it lies in what was read of the connection at once, which would be kept as a whole.
    this.#unread.push(ownCopy(chunk));
    this.#count(chunk.length + chunkBytes);
    if (this.#unreadBytes >= maxUnreadBytes) this.#stream.pause();
    if (this.#deps.readAhead.full && this.#sink === undefined) this.#deps.onTooMuch();
  }

  #trailersCame(raw: RawFields): void {
    if (this.#done || this.#discarding) return;
    const trailers = trailersOf(raw, this.#deps.limits);
    if (isFault(trailers)) this.#fault(faultError(trailers));
    else this.#trailers = trailers;
  }

  #end(): void {
    // A reset ends it too, and must not look like its end.
    if (this.#stream.closed || this.#stream.destroyed) return;
    this.#ended = true;
    if (this.#sink !== undefined && this.#unread.length === 0 && !this.#done) this.#finish();
  }

  #finish(): void {
    this.#done = true;
    this.deadlineMs = Infinity;
    this.#sink?.requestBody(nothing, 0, 0, this.#trailers ?? 'no trailers');
  }

  /** @returns whether more may come at once. */
  #feed(chunk: Buffer): boolean {
    if (this.#done) return false;
    this.#awaitMore(this.#deps.clock.nowMs());
    if (this.#sink?.requestBody(chunk, 0, chunk.length, undefined) === true) return true;
    if (!this.#done && this.#sink !== undefined) {
      this.#stream.pause();
      // It is the app that is slow, not the client.
      this.deadlineMs = this.#untilMs;
    }
    return false;
  }

  #fault(error: AppError): void {
    this.#done = true;
    this.deadlineMs = Infinity;
    this.#sink?.requestFault(error);
  }

  #awaitMore(nowMs: number): void {
    this.deadlineMs = Math.min(this.#untilMs, nowMs + this.#deps.limits.bodyStallMs);
  }

  /** The window lets in more than is wanted. */
  #heldUp(): void {
    this.#count(0);
    const { readAhead, onTooMuch } = this.#deps;
    if (this.#sink === undefined) {
      if (readAhead.full) onTooMuch();
    } else if (readAhead.over && !this.#done) this.#fault(overloaded());
  }

  #count(bytes: number): void {
    this.#unreadBytes += bytes;
    const now = this.#unreadBytes + (this.#paused?.bytes ?? 0);
    if (now !== this.#countedBytes) this.#deps.readAhead.take(now - this.#countedBytes);
    this.#countedBytes = now;
  }
}
