/** The calls of one connection of HTTP/1.1, one after the other, as the layers above see them. */
import type { Socket } from 'node:net';
import type { AppError } from '../../shared/errors.ts';
import { Call } from '../call/call.ts';
import type {
  AnsweredCall,
  ClientSide,
  ClientTunnel,
  ProblemView,
  RequestSink,
  TunnelHost,
} from '../call/client-side.ts';
import { overloaded } from '../call/refusal.ts';
import { resetSocket } from '../io/client-socket.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import { H1Answer } from './h1-answer.ts';
import { H1Body } from './h1-body.ts';
import type { ReadAheadQueue } from './h1-read-ahead.ts';

/** The connection that the calls come by. */
export interface CallCarrier {
  readonly socket: Socket;
  /** The call has its whole answer. */
  callAnswered(): void;
  /** Gives the bytes of the client to `tunnel` from now on. */
  callBecame(tunnel: ClientTunnel): void;
  startTunnel(): void;
}

export class H1ClientSide implements ClientSide, TunnelHost {
  readonly answer: H1Answer;
  readonly #carrier: CallCarrier;
  readonly #unread: ReadAheadQueue;
  readonly #deps: ConnectionDeps;
  /** Made for the first request that has a body. */
  #body: H1Body | undefined;
  #call: Call | undefined;
  #sink: RequestSink | undefined;
  #isTunnel = false;

  constructor(carrier: CallCarrier, unread: ReadAheadQueue, deps: ConnectionDeps) {
    this.#carrier = carrier;
    this.#unread = unread;
    this.#deps = deps;
    this.answer = new H1Answer(carrier.socket, deps);
  }

  // ---- For the connection

  /** @param bodyEnd where the body ends behind the head in `head.bytes`; 0 unless it came whole. */
  begin(head: RequestHead, bodyEnd: number): Call {
    if (head.hasBody) {
      this.#body ??= new H1Body(this.#unread, this.answer, this.#deps);
      this.#body.begin(head);
      if (bodyEnd > 0) this.#body.keepWhole(head.bytes, head.length, bodyEnd);
    }
    return (this.#call = new Call(this, head, this.#deps.routing));
  }

  /** The call is not at an app: it is looked up, held, or answered. */
  get isWaiting(): boolean {
    return this.#call?.attempt === undefined;
  }

  /** No more of the request will come. */
  get bodyArrived(): boolean {
    return this.#body?.arrived !== false;
  }

  /** @returns whether the chunk was taken as part of the body. */
  takeBody(chunk: Buffer): boolean {
    return this.#body?.take(chunk) === true;
  }

  /** Drops what the chunk has of the body. @returns whether that was the last of it. */
  discardBody(chunk: Buffer): boolean {
    return this.#body?.discard(chunk) !== false;
  }

  /** The body was read, or the rest of it is not to be. */
  get bodyDone(): boolean {
    return this.#body?.done !== false;
  }

  /** Too much was read ahead of all clients while the call waits. */
  refuseOverloaded(): void {
    this.answer.closes = true;
    this.#call?.refuse(overloaded());
  }

  drained(): void {
    this.#sink?.clientDrained();
  }

  gone(): void {
    this.answer.pending.close();
    this.#endCall()?.close();
  }

  checkDeadlines(nowMs: number): void {
    this.#body?.checkDeadline(nowMs);
  }

  // ---- For the call

  readBody(sink: RequestSink): void {
    this.#sink = sink;
    this.#body?.send(sink);
  }

  resumeBody(): void {
    this.#body?.resume();
  }

  answered(): void {
    this.#endCall()?.close();
    this.#carrier.callAnswered();
  }

  answerProblem(call: AnsweredCall, error: AppError, view: ProblemView | undefined): void {
    this.answer.problem(call, error, view);
    this.answered();
  }

  /** Resets the connection if a plain end would look like the end of the answer. */
  breakOff(): void {
    const { socket } = this.#carrier;
    if (this.#isTunnel || this.#call?.head.minor === 0) resetSocket(socket);
    else socket.destroy();
  }

  // ---- For a tunnel

  get upgrade(): TunnelHost {
    return this;
  }

  get socket(): Socket {
    return this.#carrier.socket;
  }

  switchTo(tunnel: ClientTunnel, block: Buffer, parser: ResponseParser): void {
    this.answer.switch(block, parser);
    this.#isTunnel = true;
    this.#carrier.callBecame(tunnel);
    this.#endCall()?.becomeTunnel();
  }

  start(): void {
    this.#carrier.startTunnel();
  }

  /** @returns the call that ends. */
  #endCall(): Call | undefined {
    const call = this.#call;
    this.#call = undefined;
    this.#sink = undefined;
    this.#body?.leave();
    return call;
  }
}
