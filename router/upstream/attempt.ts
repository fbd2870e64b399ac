/**
 * One attempt to have a call answered by a target, whatever protocol the target speaks. The attempt owns the policy: when the
 * request goes out, which side waits for the other, what is counted, and what follows a failure (with retry.ts). A transport
 * sends the request and reports the answer.
 *
 * Backpressure, client to target: `requestBody` returns whether the target keeps up; when it catches up, `drained` resumes the
 * body. Target to client: `flush` returns whether the client keeps up; when it catches up, `clientDrained` resumes the answer.
 *
 * An answer that breaks off ends the client's connection or stream, so that a part is never taken for the whole.
 */
import type { AppError } from '../../shared/errors.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import type { ActiveAttempt, Call, CallApp } from '../call/call.ts';
import type { BodyEnd, RequestSink } from '../call/client-side.ts';
import { overloaded } from '../call/refusal.ts';
import type { Trailers } from '../message/field-parser.ts';
import type { HttpDate } from '../message/http-date.ts';
import { mountOf, type Mount, type Mounted } from '../message/mount.ts';
import { stripPrefix } from '../message/path.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import type { UpstreamConnection } from './connection.ts';
import type { LateStarter, LateStarts } from './late-starts.ts';
import { decideRetry, isRepeatable } from './retry.ts';
import type { StalledAnswer } from './stalled-answers.ts';
import type { UpstreamTarget } from './target.ts';
import { invalidAnswer, type Failure, type Transport, type TransportUser } from './transport.ts';
import { Tunnel, type TunnelDeps, type TunnelEvents } from './tunnel.ts';

/** Hears of what happens to calls and targets. */
export interface AttemptEvents extends TunnelEvents {
  targetConnected(app: CallApp, target: UpstreamTarget): void;
  /** A connection was refused, or `timedOut`. */
  dialFailed(app: CallApp, target: UpstreamTarget, timedOut: boolean): void;
  /** The target answered with something that is not valid HTTP; `error` says what. */
  answerInvalid(app: CallApp, target: UpstreamTarget, call: Call, error: AppError): void;
}

export interface AttemptDeps extends TunnelDeps {
  readonly lateStarts: LateStarts;
  readonly date: HttpDate;
  readonly headersTimeoutMs: number;
  /** Calls of one target whose request body is still arriving. */
  readonly maxUploads: number;
  readonly events: AttemptEvents;
}

/**
 * `waiting`: nothing was sent · `sent`: the request is going out, or the answer is awaited · `answering`: the answer head was
 * passed on · `done`: the attempt has nothing more to do with the call.
 */
type Stage = 'waiting' | 'sent' | 'answering' | 'done';

export class Attempt implements ActiveAttempt, RequestSink, TransportUser, LateStarter, StalledAnswer, Mounted {
  readonly #call: Call;
  readonly #app: CallApp;
  readonly #target: UpstreamTarget;
  readonly #deps: AttemptDeps;
  readonly #transport: Transport;
  #stage: Stage = 'waiting';
  /** The token of `UpstreamTarget.dialBegun`, while a connection is being made; otherwise 0. */
  #dial = 0;
  /** The head is composed but not sent, so that the part of the body that has arrived goes out with it. */
  #composing = false;
  #requestDone = false;
  /** The call is counted in `UpstreamTarget.uploads`. */
  #uploading = false;
  #clientSlow = false;
  /** The route by which the request went, if it was stripped of its path. */
  #strippedBy: Route | undefined;

  private constructor(call: Call, app: CallApp, target: UpstreamTarget, deps: AttemptDeps) {
    this.#call = call;
    this.#app = app;
    this.#target = target;
    this.#deps = deps;
    const reuse = call.needsFresh ? 'none' : isRepeatable(call.head) ? 'any' : 'recent';
    this.#transport = target.open(this, app.route.protocol, reuse);
  }

  static send(call: Call, app: CallApp, target: UpstreamTarget, deps: AttemptDeps): void {
    const attempt = new Attempt(call, app, target, deps);
    call.attempt = attempt;
    target.inFlight += 1;
    const { origin } = attempt.#transport;
    if (origin === 'dialled') attempt.#dial = target.dialBegun();
    // Before a request is written that must not be sent twice, the end of the turn shows whether the idle connection has closed.
    else if (origin === 'idle' && !isRepeatable(call.head)) deps.lateStarts.add(attempt, call.head);
    else attempt.#start();
  }

  // ---- The connection

  connected(): void {
    this.#endDial();
    this.#target.connected();
    this.#deps.events.targetConnected(this.#app, this.#target);
    this.start();
  }

  /** Nothing was sent, so the call is safe to send to another target, or to this one when it is back. */
  dialFailed(timedOut: boolean): void {
    this.#abort();
    this.#retryElsewhere(timedOut);
  }

  // ---- The request

  start(): void {
    if (this.#stage === 'waiting') this.#start();
  }

  #start(): void {
    const call = this.#call;
    const { head, clientSide } = call;
    const transport = this.#transport;
    const { route } = this.#app;
    const { path, prefix } = stripPrefix(head.path, route);
    if (prefix !== '') this.#strippedBy = route;
    if (!transport.sendHead(head, { path, prefix: head.outerPrefix + prefix })) return;
    this.#stage = 'sent';
    this.#app.bytes += head.length;
    this.#requestDone = !head.hasBody;
    if (call.expectsContinue) {
      call.expectsContinue = false;
      clientSide.answer.continue();
    }
    this.#composing = true;
    clientSide.readBody(this);
    this.#composing = false;
    if (this.#stage !== 'sent') return;
    if (!this.#requestDone && transport.isExclusive && !this.#beginUpload()) return;
    transport.flush();
    if (this.#requestDone) this.#awaitAnswer();
  }

  requestBody(bytes: Buffer, start: number, end: number, last: BodyEnd | undefined): boolean {
    if (this.#stage === 'done') return false;
    const transport = this.#transport;
    this.#app.bytes += end - start;
    this.#call.bytesReceived += end - start;
    transport.sendBody(bytes, start, end);
    if (last !== undefined) {
      transport.endBody(last === 'no trailers' ? undefined : last);
      this.#requestDone = true;
      this.#endUpload();
    }
    if (this.#composing) return true;
    if (last !== undefined) this.#awaitAnswer();
    return transport.flush();
  }

  get answering(): boolean {
    return this.#stage === 'answering';
  }

  requestFault(error: AppError): void {
    this.failed('fatal', error);
  }

  drained(): void {
    if (!this.#requestDone) this.#call.clientSide.resumeBody();
  }

  /** Slow uploads, malicious or not, must not occupy all the connections that other calls need. */
  #beginUpload(): boolean {
    if (this.#target.uploads >= this.#deps.maxUploads) {
      this.failed('fatal', overloaded('Too many requests are being uploaded to this app; try again.'));
      return false;
    }
    this.#uploading = true;
    this.#target.uploads += 1;
    return true;
  }

  #endUpload(): void {
    if (!this.#uploading) return;
    this.#uploading = false;
    this.#target.uploads -= 1;
  }

  #awaitAnswer(): void {
    if (this.#stage === 'sent') this.#transport.awaitAnswer(this.#deps.clock.nowMs() + this.#deps.headersTimeoutMs);
  }

  // ---- The answer

  interim(block: Buffer, parser: ResponseParser): boolean {
    // RFC 9110 §15.2 forbids interim answers to HTTP/1.0; and the router sends 100 itself.
    if (parser.status === 100 || this.#call.head.minor === 0) return true;
    return this.#noteClient(this.#call.clientSide.answer.interim(block, parser));
  }

  answerHead(block: Buffer, parser: ResponseParser): number {
    const call = this.#call;
    const { status, framing } = parser;
    const bodiless = call.head.method === 'HEAD' || status === 204 || status === 304;
    const bodyBytes = bodiless ? 0 : framing.contentLength;
    this.#stage = 'answering';
    this.#app.bytes += parser.end;
    call.status = status;
    call.clientSide.answer.head(call, block, parser, {
      hasLength: bodyBytes >= 0,
      date: this.#deps.date.now(),
      mounted: this.#strippedBy && this,
    });
    return bodyBytes;
  }

  /** Asked for only where the answer has fields with paths. */
  mount(): Mount | undefined {
    return this.#strippedBy && mountOf(this.#call.head, this.#strippedBy);
  }

  answerPart(bytes: Buffer, start: number, end: number, owned: boolean): boolean {
    this.#app.bytes += end - start;
    this.#call.bytesSent += end - start;
    return this.#call.clientSide.answer.part(bytes, start, end, owned);
  }

  answerEnd(trailers: Trailers | undefined): void {
    this.#call.clientSide.answer.end(trailers);
  }

  flush(): boolean {
    return this.#noteClient(this.#call.clientSide.answer.flush());
  }

  get waitingBytes(): number {
    return this.#call.clientSide.answer.waitingBytes;
  }

  answered(): void {
    const call = this.#call;
    call.attempt = undefined;
    this.#leave();
    call.clientSide.answered();
  }

  upgraded(connection: UpstreamConnection, block: Buffer, parser: ResponseParser): boolean {
    const call = this.#call;
    const host = call.head.upgrade === undefined ? undefined : call.clientSide.upgrade;
    if (host === undefined) {
      this.failed('fatal', invalidAnswer('a switch of protocols that nobody asked for'));
      return true;
    }
    this.#stage = 'done';
    this.#noteClient(true);
    this.#target.inFlight -= 1;
    const ends = { call, host, connection, app: this.#app, target: this.#target };
    return Tunnel.open(ends, this.#deps, block, parser);
  }

  clientDrained(): void {
    if (!this.#clientSlow) return;
    this.#noteClient(true);
    this.#transport.resume();
  }

  /** Counts the answer as stalled while its client does not keep up. */
  #noteClient(keepsUp: boolean): boolean {
    const slow = !keepsUp;
    if (slow !== this.#clientSlow) {
      this.#clientSlow = slow;
      this.#target.stalled.note(this, slow, this.#deps.clock.nowMs());
    }
    return keepsUp;
  }

  // ---- The end

  failed(failure: Failure, error: AppError): void {
    const stage = this.#stage;
    const call = this.#call;
    if (stage === 'done') return;
    if (error.code === 'upstream_protocol') this.#deps.events.answerInvalid(this.#app, this.#target, call, error);
    if (stage === 'answering') {
      this.#abort();
      call.breakOff();
      return;
    }
    const decision = decideRetry(failure, stage === 'sent', call, this.#transport);
    this.#abort();
    switch (decision) {
      case 'retry':
        call.retry();
        return;
      case 'retry_elsewhere':
        this.#retryElsewhere(false);
        return;
      case 'refuse':
        call.refuse(error);
    }
  }

  /** The client has read nothing for long, and other calls wait for the connection. */
  giveUp(error: AppError): void {
    this.failed('fatal', error);
  }

  /** The client has gone. */
  abort(): void {
    if (this.#stage !== 'done') this.#abort();
  }

  #retryElsewhere(timedOut: boolean): void {
    this.#call.needsFresh = false;
    this.#deps.events.dialFailed(this.#app, this.#target, timedOut);
    this.#call.retry();
  }

  #endDial(): void {
    if (this.#dial === 0) return;
    this.#target.dialEnded(this.#dial);
    this.#dial = 0;
  }

  #abort(): void {
    this.#stage = 'done';
    this.#transport.abort();
    this.#leave();
  }

  #leave(): void {
    this.#stage = 'done';
    this.#endDial();
    this.#noteClient(true);
    this.#endUpload();
    this.#target.inFlight -= 1;
    this.#deps.events.targetLeft(this.#app, this.#target);
  }
}
