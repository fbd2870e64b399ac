/**
 * The body of a call on its way from the client: read when the call is sent, no faster than the app takes it; what is left of
 * it when the call has its answer is read away.
 */
import type { Clock } from '../../shared/wait/clock.ts';
import { AppError } from '../../shared/errors.ts';
import type { RequestSink } from '../call/client-side.ts';
import type { ConnectionLimits } from './connection-deps.ts';
import { BodyReader } from '../message/body-reader.ts';
import { faultError } from '../call/refusal.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { Unread } from './h1-unread.ts';

export class RequestBody {
  /** All of it has been read, or nothing more of it may be. */
  done = true;
  /** It is not what it should be: where the next request begins is not known. */
  faulty = false;
  /** For the client to go on with it. */
  deadlineMs = Infinity;
  readonly #unread: Unread;
  readonly #limits: ConnectionLimits;
  readonly #clock: Clock;
  #reader: BodyReader | undefined;
  #sink: RequestSink | undefined;
  #untilMs = Infinity;
  /** All of it, where it came with the head. */
  #whole: Buffer | undefined;
  #start = 0;
  #end = 0;

  constructor(unread: Unread, limits: ConnectionLimits, clock: Clock) {
    this.#unread = unread;
    this.#limits = limits;
    this.#clock = clock;
  }

  begin({ chunked, contentLength }: RequestHead): void {
    this.done = !chunked && contentLength === 0;
    if (this.done) return;
    const reader = (this.#reader ??= new BodyReader(this.#limits));
    if (chunked) reader.beginChunked();
    else reader.beginLength(contentLength);
  }

  /** All of it is there already, in bytes that stay until the call is answered. */
  has(bytes: Buffer, start: number, end: number): void {
    this.#whole = bytes;
    this.#start = start;
    this.#end = end;
  }

  /** Nothing more of it will come. */
  get arrived(): boolean {
    return this.done || this.#whole !== undefined;
  }

  /** Who has the call. */
  get sink(): RequestSink | undefined {
    return this.#sink;
  }

  /** From now on what there is of it goes to `sink`. */
  send(sink: RequestSink): void {
    this.#sink = sink;
    if (this.done) return;
    const whole = this.#whole;
    if (whole !== undefined) {
      this.#takeWhole();
      sink.requestBody(whole, this.#start, this.#end, 'no trailers');
      return;
    }
    const { bodyTimeoutMs } = this.#limits;
    const nowMs = this.#clock.nowMs();
    this.#untilMs = bodyTimeoutMs === 0 ? Infinity : nowMs + bodyTimeoutMs;
    this.#awaitMore(nowMs);
    this.resume();
  }

  /** The sink takes more. */
  resume(): void {
    while (!this.#unread.empty && !this.done && this.#sink !== undefined) {
      const chunk = this.#unread.shift();
      if (chunk === undefined || !this.#feed(chunk)) return;
    }
    if (!this.done) {
      this.#awaitMore(this.#clock.nowMs());
      this.#unread.resume();
    }
  }

  /** @returns false where the chunk is not wanted yet. */
  take(chunk: Buffer): boolean {
    if (this.#sink === undefined || this.done || !this.#unread.empty) return false;
    this.#feed(chunk);
    return true;
  }

  /** The client has not gone on with it in time. */
  timeOut(): void {
    this.#fail();
    this.#sink?.requestFault(new AppError('request_timeout', 'The request body did not arrive in time.'));
  }

  /** The call has its answer. */
  leave(): void {
    this.#sink = undefined;
    this.deadlineMs = Infinity;
    if (this.#whole !== undefined) this.#takeWhole();
  }

  /** Reads away what is left of it. @returns whether that is all. */
  discard(chunk: Buffer): boolean {
    const reader = this.#reader;
    if (reader === undefined) return true;
    reader.read(chunk, 0, chunk.length);
    if (reader.fault !== undefined) this.#fail();
    else this.done = reader.done;
    if (!this.faulty && this.done && reader.next < chunk.length) this.#unread.unshift(chunk.subarray(reader.next));
    return this.done;
  }

  /** @returns whether more may come at once. */
  #feed(chunk: Buffer): boolean {
    const sink = this.#sink;
    const reader = this.#reader;
    if (sink === undefined || reader === undefined) return false;
    reader.read(chunk, 0, chunk.length);
    const { fault, done, next, dataStart, dataEnd } = reader;
    if (fault !== undefined) {
      this.#fail();
      sink.requestFault(faultError(fault));
      return false;
    }
    this.done = done;
    if (done) {
      this.deadlineMs = Infinity;
      if (next < chunk.length) this.#unread.unshift(chunk.subarray(next));
    } else this.#awaitMore(this.#clock.nowMs());
    if (sink.requestBody(chunk, dataStart, dataEnd, done ? (reader.trailers ?? 'no trailers') : undefined)) return true;
    if (!this.done && this.#sink !== undefined) {
      this.#unread.pause();
      // It is the app that is slow, not the client.
      this.deadlineMs = this.#untilMs;
    }
    return false;
  }

  #takeWhole(): void {
    this.#whole = undefined;
    this.done = true;
  }

  #awaitMore(nowMs: number): void {
    this.deadlineMs = Math.min(this.#untilMs, nowMs + this.#limits.bodyStallMs);
  }

  #fail(): void {
    this.faulty = true;
    this.done = true;
    this.deadlineMs = Infinity;
  }
}
