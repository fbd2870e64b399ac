/** One call that came by a stream of HTTP/2, from its head to its last frame. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { toAppError, type AppError } from '../../shared/errors.ts';
import { toProblem, type ProblemOptions } from '../../shared/problem.ts';
import { Call } from '../call/call.ts';
import type { AnsweredCall, ClientSide, ProblemView, RequestSink } from '../call/client-side.ts';
import type { Client } from '../message/peer-identity.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import { faultError, refusedMethod, overloaded } from '../call/refusal.ts';
import { readRequestHead, requestIdOf, type RequestHead } from '../message/request-head.ts';
import { grpcRefusal, isGrpc } from './grpc.ts';
import { requestBytes, type RawFields } from '../message/h2-heads.ts';
import { StreamAnswer } from './h2-answer.ts';
import { StreamBody } from './h2-body.ts';

/** Of a head, that every call may keep; what is more is counted as read ahead, as by HTTP/1.1. */
const freeHeadBytes = 1_024;

export class StreamCaller implements ClientSide {
  readonly socket: ServerHttp2Stream;
  readonly client: Client;
  readonly answer: StreamAnswer;
  readonly #deps: ConnectionDeps;
  readonly #body: StreamBody;
  readonly #onGone: (caller: StreamCaller) => void;
  #grpc = false;
  #call: Call | undefined;
  #over = false;
  /** Of the head, more than every call may have. */
  #largeBytes = 0;

  constructor(stream: ServerHttp2Stream, client: Client, deps: ConnectionDeps, onGone: (caller: StreamCaller) => void) {
    this.socket = stream;
    this.client = client;
    this.#deps = deps;
    this.#onGone = onGone;
    const { limits, readAhead, routing } = deps;
    this.answer = new StreamAnswer(stream, deps.writer, deps.backlogs);
    this.#body = new StreamBody(stream, !stream.endAfterHeaders, {
      limits,
      readAhead,
      clock: routing.clock,
      onTooMuch: () => this.#call?.refuse(overloaded()),
    });
    // A reset is told by both, with unread data by the first alone.
    stream.on('aborted', () => this.#gone());
    stream.on('close', () => this.#gone());
    stream.on('drain', () => {
      this.answer.drained();
      this.#body.sink?.clientDrained();
    });
    // 'close' follows and is what counts.
    stream.on('error', () => undefined);
  }

  /** The head has come. */
  begin(raw: RawFields): void {
    const { routing } = this.#deps;
    this.#grpc = isGrpc(raw);
    const read = this.#readHead(raw);
    if ('error' in read) {
      this.#refuse(read.error, read.options);
      return;
    }
    const call = new Call(this, read, routing);
    this.#call = call;
    routing.route(call);
  }

  #readHead(raw: RawFields): RequestHead | { readonly error: AppError; readonly options?: ProblemOptions } {
    const { parser, limits, ids, readAhead } = this.#deps;
    const bytes = requestBytes(raw, !this.socket.endAfterHeaders);
    if (!Buffer.isBuffer(bytes)) return { error: faultError(bytes), options: { status: bytes.status } };
    if (bytes.length > limits.maxHeaderBytes) {
      return { error: faultError({ status: 431, what: 'the header section is over the limit' }) };
    }
    if (bytes.length > freeHeadBytes && readAhead.full) return { error: overloaded() };
    parser.parsed = undefined;
    parser.begin(0);
    if (parser.parse(bytes, bytes.length) !== 'done' || parser.end !== bytes.length) {
      const { status, what } = parser.fault ?? { status: 400, what: 'not valid HTTP' };
      return { error: faultError({ status, what }), options: { status } };
    }
    const refused = refusedMethod(parser.method);
    if (refused !== undefined) return refused;
    try {
      const head = readRequestHead(parser, bytes, 0, this.client, ids);
      parser.parsed = head;
      this.#countHead(Math.max(0, bytes.length - freeHeadBytes));
      return head;
    } catch (error) {
      return { error: toAppError(error) };
    }
  }

  #countHead(bytes: number): void {
    if (bytes !== this.#largeBytes) this.#deps.readAhead.take(bytes - this.#largeBytes);
    this.#largeBytes = bytes;
  }

  /** Before it was a call. */
  #refuse(error: AppError, options: ProblemOptions = {}): void {
    const status = options.status ?? error.status;
    this.#deps.onRefused(this.client, status);
    this.#answerError(error, options);
    this.answered();
  }

  readBody(sink: RequestSink): void {
    this.#body.send(sink);
  }

  resumeBody(): void {
    this.#body.resume();
  }

  putBack(parts: readonly Buffer[]): boolean {
    if (this.#over) return false;
    this.#body.putBack(parts);
    return true;
  }

  answerProblem(call: AnsweredCall, error: AppError, view: ProblemView | undefined): void {
    const requestId = requestIdOf(call.head);
    this.#answerError(error, { ...view, instance: requestId, headers: { 'X-Request-Id': requestId } });
    this.answered();
  }

  #answerError(error: AppError, options: ProblemOptions): void {
    const problem = toProblem(error, options);
    const { fields, body } = this.#grpc
      ? grpcRefusal(error, problem)
      : { fields: [':status', String(problem.status), ...lowered(problem.headers)], body: problem.body };
    // To HEAD there is none.
    this.answer.whole(fields, this.socket.writableEnded ? '' : body);
  }

  answered(): void {
    const call = this.#call;
    const bodyEnded = this.#body.ended;
    this.#call = undefined;
    this.#over = true;
    this.#body.leave();
    this.#countHead(0);
    call?.close();
    if (bodyEnded) return;
    this.#body.discard();
    // RFC 9113 §8.1: the rest of the request is not wanted; but the answer has to be out.
    const stream = this.socket;
    const stop = (): void => stream.close(constants.NGHTTP2_NO_ERROR);
    if (stream.writableFinished) stop();
    else stream.once('finish', stop);
  }

  breakOff(): void {
    this.socket.close(constants.NGHTTP2_INTERNAL_ERROR);
  }

  get waitingBytes(): number {
    return this.answer.waitingBytes;
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs >= this.#body.deadlineMs) this.#body.timeOut();
    if (this.answer.stalledMs(nowMs) >= this.#deps.limits.answerStallMs) {
      this.socket.close(constants.NGHTTP2_CANCEL);
    }
  }

  #gone(): void {
    const call = this.#call;
    this.#call = undefined;
    this.#over = true;
    this.#body.leave();
    this.#countHead(0);
    this.answer.close();
    call?.close();
    this.#onGone(this);
  }
}

function lowered(headers: Readonly<Record<string, string>>): string[] {
  const fields: string[] = [];
  for (const [name, value] of Object.entries(headers)) fields.push(name.toLowerCase(), value);
  return fields;
}
