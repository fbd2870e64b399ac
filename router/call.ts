/** One call from its arrival to its last byte: what is known of it, where it is, and how it ends. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { AppError, ErrorOwner } from '../shared/errors.ts';
import { sendProblem } from '../shared/problem.ts';
import type { Route, StartTimings } from '../shared/protocol/routes.ts';
import type { Clock } from '../shared/clock.ts';
import type { App } from './apps.ts';
import { answerHeaders, trailerPairs, type RawFields, type RequestHead } from './headers.ts';
import type { Waiter } from './hold.ts';
import type { Target } from './targets.ts';

/** What a call needs of the router around it. */
export interface CallRouting {
  /** Looks the call up, and sends, holds or refuses it. */
  route(call: Call): void;
  send(call: Call, target: Target): void;
  readonly clock: Clock;
  draining(): boolean;
  /** The client has the whole answer, or has gone. */
  ended(call: Call): void;
}

/** An attempt to have the call answered by a target. */
export interface Attempt {
  /** The client has gone. */
  abort(): void;
}

/** The connection of an Upgrade request, and what was read of it after the head. */
export interface UpgradeRequest {
  readonly socket: Socket;
  /** Ends the watch for the client's leaving; what it had sent meanwhile is back in the socket. */
  takeOver(): void;
}

/** A client that goes on sending after its answer has so long to end before its connection is closed. */
const lingerMs = 5_000;

export class Call implements Waiter {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly head: RequestHead;
  /** Lower case, without port. */
  readonly host: string;
  readonly upgrade: UpgradeRequest | undefined;
  readonly arrivedMs: number;
  /** The client waits for 100 (Continue) before it sends its body. */
  expectsContinue: boolean;
  app: App | undefined;
  /** The app that counts it as in flight. */
  countedIn: App | undefined;
  attempt: Attempt | undefined;
  heldSinceMs: number | undefined;
  /** Whole time in the waiting room; undefined when it was never there. */
  heldMs: number | undefined;
  /** Attempts that ended on an idle connection's close, before anything was sent or where it may be sent again. */
  staleSockets = 0;
  /** Its pooled connection turned out closed: the next attempt has one of its own. */
  needsFresh = false;
  ended = false;
  /** Code of the error that the router answered with. */
  errorCode: string | undefined;
  readonly #routing: CallRouting;
  #timings: StartTimings | undefined;

  constructor(options: {
    readonly req: IncomingMessage;
    readonly res: ServerResponse;
    readonly head: RequestHead;
    readonly host: string;
    readonly expectsContinue: boolean;
    readonly upgrade?: UpgradeRequest;
    readonly routing: CallRouting;
  }) {
    this.req = options.req;
    this.res = options.res;
    this.head = options.head;
    this.host = options.host;
    this.expectsContinue = options.expectsContinue;
    this.upgrade = options.upgrade;
    this.#routing = options.routing;
    this.arrivedMs = options.routing.clock.nowMs();
    // Emitted after the whole answer was handed over, and when the client goes before.
    this.res.once('close', () => this.#close());
  }

  get draining(): boolean {
    return this.#routing.draining();
  }

  go(target: Target): void {
    this.#leaveHold();
    this.#routing.send(this, target);
  }

  reroute(): void {
    this.#leaveHold();
    this.#routing.route(this);
  }

  /** Back for another target, or to wait for one; nothing of it was sent. */
  again(): void {
    this.attempt = undefined;
    if (!this.ended) this.#routing.route(this);
  }

  refuse(error: AppError, as?: { readonly status: number; readonly owner: ErrorOwner }): void {
    this.#leaveHold();
    this.attempt = undefined;
    if (this.ended) return;
    this.errorCode = error.code;
    if (this.res.headersSent) {
      this.res.destroy();
      return;
    }
    // Without its 100 the client may leave the body out: what comes next on the connection would be in doubt.
    const close = this.draining || this.expectsContinue || this.upgrade !== undefined;
    sendProblem(this.res, error, {
      ...as,
      instance: this.head.requestId,
      headers: { 'X-Request-Id': this.head.requestId, ...(close ? { Connection: 'close' } : undefined) },
    });
    this.#linger();
  }

  /** An interim answer, RFC 9110 §15.2: passed on, but never to HTTP/1.0. */
  writeInformation(status: number, raw: RawFields): void {
    if (this.req.httpVersionMinor > 0) this.res.writeInformation(status, answerHeaders(raw, { dropTrailer: true }));
  }

  writeHead(status: number, reason: string | undefined, raw: RawFields): void {
    const bodiless = this.req.method === 'HEAD' || status === 204 || status === 304;
    const headers = answerHeaders(raw, { dropTrailer: bodiless || this.req.httpVersionMinor === 0 });
    if (this.heldMs !== undefined) headers.push('Server-Timing', this.#serverTiming(this.heldMs));
    if (this.draining || this.upgrade !== undefined) headers.push('Connection', 'close');
    this.res.writeHead(status, reasonOf(reason), headers);
  }

  end(trailers: RawFields): void {
    this.attempt = undefined;
    if (trailers.length > 0) this.res.addTrailers(trailerPairs(trailers));
    this.res.end();
    this.#linger();
  }

  /** The answer broke off: the client must see that this is not its end; by a reset where no length tells it. */
  breakOff(): void {
    this.attempt = undefined;
    this.errorCode = 'upstream_reset';
    if (this.req.httpVersionMinor === 0) this.req.socket.resetAndDestroy();
    else this.res.destroy();
  }

  /** What is told of the time it was held: https://www.w3.org/TR/server-timing/ */
  #serverTiming(heldMs: number): string {
    let value = `hold;dur=${heldMs.toFixed(1)}`;
    if (this.#timings?.buildMs != null) value += `, build;dur=${this.#timings.buildMs.toFixed(1)}`;
    if (this.#timings?.rolloutMs != null) value += `, rollout;dur=${this.#timings.rolloutMs.toFixed(1)}`;
    return value;
  }

  /** Answered before all of the body was read: the rest is read away, so that the client gets to read its answer. */
  #linger(): void {
    const { req } = this;
    if (req.complete || this.upgrade !== undefined) return;
    const cancel = this.#routing.clock.after(lingerMs, () => req.socket.destroy());
    req.once('close', cancel);
    req.resume();
  }

  noteTimings(route: Route): void {
    if (this.heldMs !== undefined && route.serving.state === 'ready') this.#timings = route.serving.timings;
  }

  #leaveHold(): void {
    if (this.heldSinceMs !== undefined) this.heldMs = this.#routing.clock.nowMs() - this.heldSinceMs;
  }

  #close(): void {
    if (this.ended) return;
    this.ended = true;
    const { attempt } = this;
    this.attempt = undefined;
    attempt?.abort();
    this.#routing.ended(this);
  }
}

/** Reason phrases mean nothing (RFC 9112 §4) and must not fail a call. */
function reasonOf(reason: string | undefined): string {
  return reason !== undefined && /^[\t\x20-\x7e]*$/.test(reason) ? reason : '';
}
