/** One call on a stream of HTTP/2, from its head to its last frame. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import type { AppError } from '../../shared/errors.ts';
import { toProblem, type ProblemOptions } from '../../shared/problem.ts';
import { Call } from '../call/call.ts';
import type { AnsweredCall, ClientSide, ProblemView, RequestSink } from '../call/client-side.ts';
import { faultRefusal, overloaded, Refusal } from '../call/refusal.ts';
import { requestBytes, type RawFields } from '../message/h2-heads.ts';
import type { PeerIdentity } from '../message/peer-identity.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import { grpcRefusal, isGrpc } from './grpc.ts';
import { H2Answer } from './h2-answer.ts';
import { H2Body } from './h2-body.ts';
import { countedHeadBytes, takeHead } from './request-intake.ts';

/** The connection that the stream is one of. */
export interface StreamCarrier {
  readonly client: PeerIdentity;
  streamGone(side: H2ClientSide): void;
}

export class H2ClientSide implements ClientSide {
  readonly answer: H2Answer;
  readonly #stream: ServerHttp2Stream;
  readonly #carrier: StreamCarrier;
  readonly #deps: ConnectionDeps;
  /** Absent when the head has ended the request. */
  readonly #body: H2Body | undefined;
  #isGrpc = false;
  #call: Call | undefined;
  #sink: RequestSink | undefined;
  #over = false;
  /** What `readAhead` counts of the head. */
  #countedBytes = 0;

  constructor(stream: ServerHttp2Stream, carrier: StreamCarrier, deps: ConnectionDeps) {
    this.#stream = stream;
    this.#carrier = carrier;
    this.#deps = deps;
    this.answer = new H2Answer(stream, deps);
    this.#body = stream.endAfterHeaders ? undefined : new H2Body(stream, () => this.#call?.refuse(overloaded()), deps);
    // A reset fires both events; with unread data, 'aborted' alone.
    stream.on('aborted', () => this.#gone());
    stream.on('close', () => this.#gone());
    stream.on('drain', () => this.#drained());
    // 'close' follows, and is what counts.
    stream.on('error', () => undefined);
  }

  get client(): PeerIdentity {
    return this.#carrier.client;
  }

  // ---- For the connection

  begin(raw: RawFields): void {
    const { routing, onRefused } = this.#deps;
    this.#isGrpc = isGrpc(raw);
    const head = this.#readHead(raw);
    if (head instanceof Refusal) {
      onRefused(this.client, head.status, head.error);
      this.#answerError(head.error, head.options);
      this.answered();
      return;
    }
    this.#countHead(countedHeadBytes(head.bytes.length));
    this.#call = new Call(this, head, routing);
    routing.route(this.#call);
  }

  checkDeadlines(nowMs: number): void {
    this.#body?.checkDeadline(nowMs);
    if (this.answer.pending.stalledMs(nowMs) >= this.#deps.limits.answerStallMs) {
      this.#stream.close(constants.NGHTTP2_CANCEL);
    }
  }

  // ---- For the call

  readBody(sink: RequestSink): void {
    this.#sink = sink;
    this.#body?.send(sink);
  }

  resumeBody(): void {
    this.#body?.resume();
  }

  putBack(parts: readonly Buffer[]): boolean {
    if (this.#over) return false;
    this.#sink = undefined;
    this.#body?.putBack(parts);
    return true;
  }

  answered(): void {
    const bodyEnded = this.#body?.ended !== false;
    this.#endCall()?.close();
    if (bodyEnded) return;
    this.#body?.discard();
    // RFC 9113 §8.1: the rest of the request is not wanted. The answer has to be out first.
    const stream = this.#stream;
    const stop = (): void => stream.close(constants.NGHTTP2_NO_ERROR);
    if (stream.writableFinished) stop();
    else stream.once('finish', stop);
  }

  answerProblem(call: AnsweredCall, error: AppError, view: ProblemView | undefined): void {
    const { requestId } = call.head;
    this.#answerError(error, { ...view, instance: requestId, headers: { 'X-Request-Id': requestId } });
    this.answered();
  }

  breakOff(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  #readHead(raw: RawFields): RequestHead | Refusal {
    const { heads, limits } = this.#deps;
    const bytes = requestBytes(raw, this.#body !== undefined);
    if (!Buffer.isBuffer(bytes)) return faultRefusal(bytes);
    if (bytes.length > limits.maxHeaderBytes) {
      return faultRefusal({ status: 431, what: 'the header section is over the limit' });
    }
    const parser = heads.begin();
    const whole = parser.parse(bytes, bytes.length) === 'done' && parser.end === bytes.length;
    return whole ? takeHead(parser, bytes, this.client, this.#deps) : faultRefusal(parser.fault);
  }

  #countHead(bytes: number): void {
    if (bytes !== this.#countedBytes) this.#deps.readAhead.take(bytes - this.#countedBytes);
    this.#countedBytes = bytes;
  }

  #answerError(error: AppError, options: ProblemOptions): void {
    const problem = toProblem(error, options);
    const { fields, body } = this.#isGrpc
      ? grpcRefusal(error, problem)
      : { fields: [':status', String(problem.status), ...lowered(problem.headers)], body: problem.body };
    // After HEAD the stream has no body.
    this.answer.whole(fields, this.#stream.writableEnded ? '' : body);
  }

  #drained(): void {
    this.answer.pending.update();
    this.#sink?.clientDrained();
  }

  #gone(): void {
    const call = this.#endCall();
    this.answer.pending.close();
    call?.close();
    this.#carrier.streamGone(this);
  }

  /** @returns the call that ends. */
  #endCall(): Call | undefined {
    const call = this.#call;
    this.#call = undefined;
    this.#sink = undefined;
    this.#over = true;
    this.#body?.leave();
    this.#countHead(0);
    return call;
  }
}

function lowered(headers: Readonly<Record<string, string>>): string[] {
  const fields: string[] = [];
  for (const [name, value] of Object.entries(headers)) fields.push(name.toLowerCase(), value);
  return fields;
}
