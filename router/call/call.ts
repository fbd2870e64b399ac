/** One call from its arrival to its last byte: what is known about it, its current attempt, and its end. */
import type { AppError } from '../../shared/errors.ts';
import type { Route, StartTimings } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { ClientSide, ProblemView } from './client-side.ts';
import type { RequestHead } from '../message/request-head.ts';

/** The app of a call, and what is counted for it. */
export interface CallApp {
  readonly name: string;
  readonly route: Route;
  inFlight: number;
  /** The part of `inFlight` that does not keep the app awake. */
  passive: number;
  lastActiveMs: number;
  /** Calls and upgraded connections that the app may have in this router. */
  readonly maxTotal: number;
  /** Bytes of heads and bodies, both ways. */
  bytes: number;
}

export interface CallTarget {
  readonly id: string;
}

export interface CallRouting {
  /** Looks the call up, and sends, holds or refuses it. */
  route(call: Call): void;
  send(call: Call, target: CallTarget): void;
  readonly clock: Clock;
  draining(): boolean;
  /** The client got the whole answer, or has gone. */
  ended(call: Call): void;
}

/** What answers a call now: an attempt at a target, or a waiting page. */
export interface ActiveAttempt {
  /** The client has gone. */
  abort(): void;
}

const startSteps = ['build', 'rollout', 'schedule', 'pull', 'start', 'switch'] as const;

export class Call {
  readonly clientSide: ClientSide;
  readonly head: RequestHead;
  readonly arrivedMs: number;
  /** The client waits for 100 (Continue) before it sends the body. */
  expectsContinue: boolean;
  app: CallApp | undefined;
  /** The app that counts it as in flight. */
  countedIn: CallApp | undefined;
  attempt: ActiveAttempt | undefined;
  heldSinceMs: number | undefined;
  /** Total time that it was held; undefined if it never was. */
  heldMs: number | undefined;
  /** Attempts on idle connections that had closed, or on streams that the target did not process. */
  wastedAttempts = 0;
  /** The next attempt dials, because a reused connection turned out closed. */
  needsFresh = false;
  /** It does not keep its app awake. */
  passive = false;
  ended = false;
  /** Status of its answer; 0 before that begins. */
  status = 0;
  /** Bytes of body from and to the client, or of the tunnel that the call became. */
  bytesReceived = 0;
  bytesSent = 0;
  /** Code of the error that the router answered with. */
  errorCode: string | undefined;
  readonly #routing: CallRouting;
  #timings: StartTimings | undefined;

  constructor(clientSide: ClientSide, head: RequestHead, routing: CallRouting) {
    this.clientSide = clientSide;
    this.head = head;
    this.expectsContinue = head.expectsContinue;
    this.#routing = routing;
    this.arrivedMs = routing.clock.nowMs();
  }

  /** The requested host, in lower case and without port. */
  get host(): string {
    return this.head.routeHost;
  }

  get draining(): boolean {
    return this.#routing.draining();
  }

  go(target: CallTarget): void {
    this.#leaveHold();
    this.#routing.send(this, target);
  }

  reroute(): void {
    this.#leaveHold();
    this.#routing.route(this);
  }

  retry(): void {
    this.attempt = undefined;
    if (!this.ended) this.#routing.route(this);
  }

  refuse(error: AppError, view?: ProblemView): void {
    this.#leaveHold();
    this.attempt = undefined;
    if (this.ended) return;
    this.errorCode = error.code;
    if (this.status !== 0) {
      this.clientSide.breakOff();
      return;
    }
    this.status = view?.status ?? error.status;
    this.clientSide.answerProblem(this, error, view);
  }

  breakOff(): void {
    this.attempt = undefined;
    this.errorCode = 'upstream_reset';
    this.clientSide.breakOff();
  }

  /** Value of Server-Timing (https://www.w3.org/TR/server-timing/) for a call that was held; otherwise `''`. */
  serverTiming(): string {
    if (this.heldMs === undefined) return '';
    let value = `hold;dur=${this.heldMs.toFixed(1)}`;
    for (const step of startSteps) {
      const ms = this.#timings?.[`${step}Ms`];
      if (ms != null) value += `, ${step};dur=${ms.toFixed(1)}`;
    }
    return value;
  }

  noteTimings(route: Route): void {
    if (this.heldMs !== undefined && route.serving.state === 'ready') this.#timings = route.serving.timings;
  }

  /** Called by the client's side when the answer is over or the client has gone. */
  close(): void {
    if (this.ended) return;
    this.ended = true;
    const { attempt } = this;
    this.attempt = undefined;
    attempt?.abort();
    this.#routing.ended(this);
  }

  /** Called by the client's side when the call has become a tunnel, which is counted by itself. */
  becomeTunnel(): void {
    this.ended = true;
    this.attempt = undefined;
  }

  #leaveHold(): void {
    if (this.heldSinceMs !== undefined) this.heldMs = this.#routing.clock.nowMs() - this.heldSinceMs;
  }
}
