/**
 * The body of a request on HTTP/1.1: read when its call is sent, no faster than the app takes it. What is left of it when the
 * call has its answer is read and dropped.
 */
import type { RequestSink } from '../call/client-side.ts';
import { faultError } from '../call/refusal.ts';
import { BodyReader } from '../message/body-reader.ts';
import type { RequestHead } from '../message/request-head.ts';
import { BodyFlow } from './body-flow.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import type { H1Answer } from './h1-answer.ts';
import type { ReadAheadQueue } from './h1-read-ahead.ts';

export class H1Body {
  readonly #unread: ReadAheadQueue;
  /** Closes the connection after a body that is malformed or late: nobody knows where the next request begins. */
  readonly #answer: Pick<H1Answer, 'closes'>;
  readonly #reader: BodyReader;
  readonly #flow: BodyFlow;
  /** Bytes with all of the body, when it came with the head. */
  #whole: Buffer | undefined;
  #start = 0;
  #end = 0;

  constructor(
    unread: ReadAheadQueue,
    answer: Pick<H1Answer, 'closes'>,
    { limits, routing }: Pick<ConnectionDeps, 'limits' | 'routing'>,
  ) {
    this.#unread = unread;
    this.#answer = answer;
    this.#reader = new BodyReader(limits);
    this.#flow = new BodyFlow(unread, limits, routing.clock);
  }

  begin({ chunked, contentLength }: RequestHead): void {
    this.#flow.done = false;
    if (chunked) this.#reader.beginChunked();
    else this.#reader.beginLength(contentLength);
  }

  /** All of the body is here, in bytes that stay until the call is answered. */
  keepWhole(bytes: Buffer, start: number, end: number): void {
    this.#whole = bytes;
    this.#start = start;
    this.#end = end;
  }

  /** All of the body has been read, or no more of it may be. */
  get done(): boolean {
    return this.#flow.done;
  }

  /** No more of the body will come. */
  get arrived(): boolean {
    return this.done || this.#whole !== undefined;
  }

  send(sink: RequestSink): void {
    if (this.done) return;
    const whole = this.#whole;
    if (whole !== undefined) {
      this.#skipWhole();
      sink.requestBody(whole, this.#start, this.#end, 'no trailers');
      return;
    }
    this.#flow.start(sink);
    this.resume();
  }

  /** Passes on what was read ahead, as far as the sink takes it, then reads on. Called when the sink has room. */
  resume(): void {
    const flow = this.#flow;
    while (!this.#unread.empty && !flow.done && flow.hasSink) {
      const chunk = this.#unread.shift();
      if (chunk === undefined || !this.#feed(chunk)) return;
    }
    if (flow.done) return;
    flow.awaitMore();
    this.#unread.resume();
  }

  /** @returns false while the chunk is not wanted yet. */
  take(chunk: Buffer): boolean {
    if (!this.#flow.hasSink || this.done || !this.#unread.empty) return false;
    this.#feed(chunk);
    return true;
  }

  /** The call has its answer. */
  leave(): void {
    this.#flow.stop();
    if (this.#whole !== undefined) this.#skipWhole();
  }

  /** Drops what the chunk has of the body. @returns whether that was the last of it. */
  discard(chunk: Buffer): boolean {
    const reader = this.#reader;
    reader.read(chunk, 0, chunk.length);
    this.#flow.done = reader.done;
    if (reader.fault !== undefined) {
      this.#answer.closes = true;
      this.#flow.done = true;
    } else if (reader.done) this.#keepRest(chunk);
    return this.done;
  }

  checkDeadline(nowMs: number): void {
    if (nowMs < this.#flow.deadlineMs) return;
    this.#answer.closes = true;
    this.#flow.timeOut();
  }

  /** @returns whether more may come at once. */
  #feed(chunk: Buffer): boolean {
    const reader = this.#reader;
    reader.read(chunk, 0, chunk.length);
    const { fault, done, dataStart, dataEnd } = reader;
    if (fault !== undefined) {
      this.#answer.closes = true;
      this.#flow.fault(faultError(fault));
      return false;
    }
    if (done) this.#keepRest(chunk);
    return this.#flow.pass(chunk, dataStart, dataEnd, done ? (reader.trailers ?? 'no trailers') : undefined);
  }

  /** What is behind the body is another request. */
  #keepRest(chunk: Buffer): void {
    const { next } = this.#reader;
    if (next < chunk.length) this.#unread.unshift(chunk.subarray(next));
  }

  #skipWhole(): void {
    this.#whole = undefined;
    this.#flow.done = true;
  }
}
