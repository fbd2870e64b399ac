/** Passes the body of a request to the sink that takes it, no faster than the sink asks for it, and times its client. */
import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { BodyEnd, RequestSink } from '../call/client-side.ts';
import type { ConnectionLimits } from './connection-deps.ts';

type BodyLimits = Pick<ConnectionLimits, 'bodyTimeoutMs' | 'bodyStallMs'>;

export class BodyFlow {
  /** Nothing more is passed on: the body is whole, or its rest is not wanted. */
  done = false;
  /** When the client must have sent more. */
  deadlineMs = Infinity;
  /** The socket or stream that the bytes come from. */
  readonly #source: { pause(): void };
  readonly #limits: BodyLimits;
  readonly #clock: Clock;
  #sink: RequestSink | undefined;
  #error: AppError | undefined;
  /** When the body must be whole. */
  #wholeByMs = Infinity;

  constructor(source: { pause(): void }, limits: BodyLimits, clock: Clock) {
    this.#source = source;
    this.#limits = limits;
    this.#clock = clock;
  }

  get hasSink(): boolean {
    return this.#sink !== undefined;
  }

  /** Begins to pass the body to `sink`, or what was found wrong with it before, and to time the client. */
  start(sink: RequestSink): void {
    this.#sink = sink;
    if (this.#error !== undefined) sink.requestFault(this.#error);
    if (this.done) return;
    const { bodyTimeoutMs } = this.#limits;
    this.#wholeByMs = bodyTimeoutMs === 0 ? Infinity : this.#clock.nowMs() + bodyTimeoutMs;
    this.awaitMore();
  }

  /** Nobody takes the body any more. */
  stop(): void {
    this.#sink = undefined;
    this.deadlineMs = Infinity;
  }

  /** The sink has room, so that the client is the one to go on. */
  awaitMore(): void {
    this.deadlineMs = Math.min(this.#wholeByMs, this.#clock.nowMs() + this.#limits.bodyStallMs);
  }

  /** @returns whether more may come at once. */
  pass(bytes: Buffer, start: number, end: number, last: BodyEnd | undefined): boolean {
    if (last === undefined) this.awaitMore();
    else this.#finish();
    if (this.#sink?.requestBody(bytes, start, end, last) === true) return true;
    if (!this.done && this.#sink !== undefined) {
      this.#source.pause();
      // The app is slow, not the client.
      this.deadlineMs = this.#wholeByMs;
    }
    return false;
  }

  fault(error: AppError): void {
    this.#finish();
    this.#error = error;
    this.#sink?.requestFault(error);
  }

  /** The client has not sent more in time. */
  timeOut(): void {
    this.fault(new AppError('request_timeout', 'The request body did not arrive in time.'));
  }

  #finish(): void {
    this.done = true;
    this.deadlineMs = Infinity;
  }
}
