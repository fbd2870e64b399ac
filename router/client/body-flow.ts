/**
 * Passes the body of a request to the sink that takes it, no faster than the sink asks for it, and times both sides. A body that
 * moves lives as long as it takes. Its client has to send something within each stall timeout, and on average over some minutes
 * the least rate; the app has to read something within its own. Time counts against the side that the other one waits for.
 */
import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { BodyEnd, RequestSink } from '../call/client-side.ts';
import type { ConnectionLimits } from './connection-deps.ts';

export type BodyLimits = Pick<ConnectionLimits, 'bodyTimeoutMs' | 'bodyStallMs' | 'bodyBytesPerSec' | 'appStallMs'>;

/** A client may fall behind the least rate by this much, so that a body may begin slowly and have pauses. */
export const slackMs = 300_000;

export class BodyFlow {
  /** Nothing more is passed on: the body is whole, or its rest is not wanted. */
  done = false;
  /** When the side that is waited for must have gone on. */
  deadlineMs = Infinity;
  /** The socket or stream that the bytes come from. */
  readonly #source: { pause(): void };
  readonly #limits: BodyLimits;
  readonly #clock: Clock;
  #sink: RequestSink | undefined;
  #error: AppError | undefined;
  /** When the body must be whole. */
  #wholeByMs = Infinity;
  /** For how much longer the client may send nothing, as far as the least rate goes. */
  #slackMs = slackMs;
  /** Since when the client is waited for; undefined while it is not. */
  #clientSinceMs: number | undefined;

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
    this.#clientSinceMs = undefined;
  }

  /** The sink has room, so that the client is the one to go on. */
  awaitMore(): void {
    this.#await(0);
  }

  /** @returns whether more may come at once. */
  pass(bytes: Buffer, start: number, end: number, last: BodyEnd | undefined): boolean {
    if (last === undefined) this.#await(end - start);
    else this.#finish();
    if (this.#sink?.requestBody(bytes, start, end, last) === true) return true;
    if (!this.done && this.#sink !== undefined) {
      this.#source.pause();
      this.#clientSinceMs = undefined;
      this.deadlineMs = Math.min(this.#wholeByMs, this.#clock.nowMs() + this.#limits.appStallMs);
    }
    return false;
  }

  fault(error: AppError): void {
    this.#finish();
    this.#error = error;
    this.#sink?.requestFault(error);
  }

  /** The deadline is over. */
  timeOut(): void {
    const nowMs = this.#clock.nowMs();
    if (nowMs >= this.#wholeByMs)
      this.fault(new AppError('request_timeout', 'The request body did not arrive in time.'));
    else if (this.#clientSinceMs === undefined) {
      this.fault(new AppError('upstream_timeout', 'The app did not go on reading the request body in time.'));
    } else if (nowMs - this.#clientSinceMs >= this.#limits.bodyStallMs) {
      const seconds = this.#limits.bodyStallMs / 1_000;
      this.fault(new AppError('request_timeout', `Nothing of the request body arrived for ${seconds} seconds.`));
    } else if (this.#sink?.answering === true) {
      // A stream both ways, such as one of gRPC, may say little for long.
      this.#slackMs = slackMs;
      this.awaitMore();
    } else {
      const { bodyBytesPerSec } = this.#limits;
      const message = `The request body arrived at less than ${bodyBytesPerSec} bytes a second.`;
      this.fault(new AppError('request_timeout', message));
    }
  }

  /** Waits for the client. @param sentBytes what it has sent since it was last waited for. */
  #await(sentBytes: number): void {
    const { bodyBytesPerSec, bodyStallMs } = this.#limits;
    const nowMs = this.#clock.nowMs();
    let byMs = bodyStallMs;
    if (bodyBytesPerSec > 0) {
      const waitedMs = this.#clientSinceMs === undefined ? 0 : nowMs - this.#clientSinceMs;
      this.#slackMs = Math.min(slackMs, this.#slackMs - waitedMs + (sentBytes * 1_000) / bodyBytesPerSec);
      byMs = Math.min(bodyStallMs, this.#slackMs);
    }
    this.#clientSinceMs = nowMs;
    this.deadlineMs = Math.min(this.#wholeByMs, nowMs + byMs);
  }

  #finish(): void {
    this.done = true;
    this.deadlineMs = Infinity;
  }
}
