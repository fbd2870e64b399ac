/**
 * One connection of a client: requests one after the other, each with its answer before the next is looked at, however many
 * came together. It reads on while a call waits, so that a client that leaves is seen, up to a bound that grows while there is
 * room; behind that the kernel holds the client up, and its leaving is seen when its bytes are taken. A client that ends its
 * half looks like one that has closed: a call that waits is given up, one at its app goes on as long as it is being answered.
 */
import type { Socket } from 'node:net';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { ProblemOptions } from '../../shared/problem.ts';
import { Call } from '../call/call.ts';
import { listenTo, resetSocket, type SocketOwner } from '../io/client-socket.ts';
import { Client } from '../message/peer-identity.ts';
import type {
  AnsweredCall,
  ClientSide,
  ClientTunnel,
  ProblemView,
  RequestSink,
  TunnelHost,
} from '../call/client-side.ts';
import { ClientAnswer } from './h1-answer.ts';
import type { ClientConnection, ConnectionDeps } from './connection-deps.ts';
import type { Timed } from '../io/deadlines.ts';
import { freeBlockBytes, HeadReader } from './h1-head-reader.ts';
import { unsentBytes } from '../io/direct-io.ts';
import type { Fault } from '../message/field-parser.ts';
import { faultError, refusedMethod, overloaded, writeProblem, writeRefusal } from '../call/refusal.ts';
import { RequestBody } from './h1-body.ts';
import { readRequestHead } from '../message/request-head.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import { Unread } from './h1-unread.ts';

/** A client that goes on sending after its answer, or does not close, has so long. */
const lingerMs = 5_000;
/** A client that has ended its half gets what begins within so long, and no pause of that length. */
const halfClosedMs = 1_000;
/** A new connection at the end of the router: its first request is on its way. */
const newcomerMs = 1_000;

type Phase = 'idle' | 'head' | 'call' | 'discard' | 'closing' | 'tunnel' | 'closed';

export class Connection implements ClientSide, TunnelHost, ClientConnection, Timed, SocketOwner {
  readonly socket: Socket;
  readonly isHttp2 = false;
  readonly client: Client;
  readonly answer: ClientAnswer;
  readonly deps: ConnectionDeps;
  #phase: Phase = 'idle';
  #call: Call | undefined;
  #tunnel: ClientTunnel | undefined;
  readonly #head: HeadReader;
  readonly #unread: Unread;
  readonly #body: RequestBody;
  #deadlineMs: number;
  #closeAfter = false;
  /** When a client that has ended its half counts as gone, and what it had been sent when that was looked at last. */
  #leavesAtMs = Infinity;
  #sentBytes = 0;

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.socket = socket;
    this.deps = deps;
    this.client = new Client(socket, deps.trusted);
    this.answer = new ClientAnswer(socket, deps.writer, deps.backlogs, this);
    this.#head = new HeadReader(deps);
    this.#unread = new Unread(socket, deps.readAhead);
    this.#body = new RequestBody(this.#unread, deps.limits, deps.routing.clock);
    this.#deadlineMs = deps.routing.clock.nowMs() + deps.limits.keepAliveMs;
    listenTo(socket, this);
    deps.deadlines.add(this);
  }

  // ---- The request

  data(chunk: Buffer): void {
    switch (this.#phase) {
      case 'idle':
      case 'head':
        // Behind what was read before and is looked at in a moment: bytes out of order are another request.
        if (this.#unread.empty) this.#read(chunk);
        else this.#unread.push(chunk);
        return;
      case 'call':
        if (!this.#body.take(chunk)) this.#keep(chunk);
        return;
      case 'discard':
        this.#discard(chunk);
        return;
      case 'tunnel':
        this.#tunnel?.fromClient(chunk);
        return;
      case 'closing':
      case 'closed':
    }
  }

  #read(chunk: Buffer): void {
    const head = this.#head;
    switch (head.read(chunk)) {
      case 'done':
        this.#take(chunk);
        return;
      case 'bad':
        if (!this.#isHttp2(head.received(chunk))) this.#refuseFault(head.fault);
        return;
      case 'more':
        if (this.#phase === 'idle') {
          this.#phase = 'head';
          this.#deadlineMs = this.deps.routing.clock.nowMs() + this.deps.limits.headTimeoutMs;
        }
        if (this.deps.readAhead.full) this.#refuse(overloaded());
    }
  }

  /** @returns whether somebody else goes on with the connection. */
  #isHttp2(received: Buffer): boolean {
    if (!this.deps.takeHttp2(this, received)) return false;
    this.#phase = 'closed';
    this.#head.stop();
    return true;
  }

  /** A head is whole. */
  #take(chunk: Buffer): void {
    const { routing, readAhead } = this.deps;
    const { block, rest, bodyEnd } = this.#head;
    const parser = this.#head.takeParser();
    if (readAhead.full && parser.end > freeBlockBytes) {
      this.#refuse(overloaded());
      return;
    }
    const refused = refusedMethod(parser.method);
    if (refused !== undefined) {
      this.#refuse(refused.error, refused.options);
      return;
    }
    let head;
    try {
      head = readRequestHead(parser, block, 0, this.client, this.deps.ids);
    } catch (error) {
      this.#refuse(toAppError(error));
      return;
    }
    if (parser === this.deps.parser) parser.parsed = head;
    this.#phase = 'call';
    this.#deadlineMs = this.#leavesAtMs;
    this.#body.begin(head);
    if (bodyEnd > 0) this.#body.has(block, parser.end, bodyEnd);
    const call = new Call(this, head, routing);
    this.#call = call;
    if (rest < chunk.length) this.#unread.unshift(rest === 0 ? chunk : chunk.subarray(rest));
    this.#unread.pauseIfMany();
    routing.route(call);
  }

  readBody(sink: RequestSink): void {
    this.#body.send(sink);
  }

  resumeBody(): void {
    this.#body.resume();
  }

  /** Read before it is wanted. */
  #keep(chunk: Buffer): void {
    this.#unread.push(chunk);
    if (this.deps.readAhead.full && this.#call?.attempt === undefined) {
      this.#closeAfter = true;
      this.#call?.refuse(overloaded());
    }
  }

  // ---- The answer

  /** How the connection goes on after this answer, as fields; notes it. */
  connectionFields(call: AnsweredCall, endsWithConnection: boolean): string {
    const { routing, closing } = this.deps;
    if (
      endsWithConnection ||
      !call.head.keepAlive ||
      call.head.upgrade !== undefined ||
      call.expectsContinue ||
      routing.draining() ||
      closing() ||
      this.#body.faulty ||
      this.#closeAfter
    ) {
      this.#closeAfter = true;
      return 'Connection: close\r\n';
    }
    return this.deps.keepAliveFields;
  }

  answerProblem(call: AnsweredCall, error: AppError, view: ProblemView | undefined): void {
    // Without its 100 the client may leave the body out: what comes next on the connection would be in doubt.
    const close = this.connectionFields(call, false).startsWith('Connection: close');
    const options = { ...view, headers: { Connection: close ? 'close' : 'keep-alive' } };
    call.bytesSent = writeProblem(this.deps.writer, call.head, error, options);
    this.answer.flush();
    this.answered();
  }

  answered(): void {
    const call = this.#call;
    this.#call = undefined;
    this.#body.leave();
    call?.close();
    if (this.#phase !== 'call') return;
    if (this.#closeAfter || this.#body.faulty || this.deps.closing()) {
      this.#close();
      return;
    }
    if (!this.#body.done) {
      // The rest of the body is read away, so that the client gets to read its answer.
      this.#phase = 'discard';
      this.#deadlineMs = this.deps.routing.clock.nowMs() + lingerMs;
      this.#unread.resume();
      for (let chunk = this.#unread.shift(); chunk !== undefined; chunk = this.#unread.shift()) {
        if (this.#discard(chunk)) return;
      }
      return;
    }
    this.#next();
  }

  #next(): void {
    this.#phase = 'idle';
    this.#head.release();
    this.#deadlineMs = this.deps.routing.clock.nowMs() + this.deps.limits.keepAliveMs;
    if (!this.#unread.empty || this.answer.isBehind) process.nextTick(takeUnread, this);
    else this.#awaitMore();
  }

  #awaitMore(): void {
    if (this.#leavesAtMs === Infinity) this.#unread.resume();
    else if (this.#phase === 'idle') this.#end();
    else this.socket.destroy();
  }

  /** The next request has come already, or may come now. */
  takeUnread(): void {
    while ((this.#phase === 'idle' && !this.answer.isBehind) || this.#phase === 'head') {
      const chunk = this.#unread.shift();
      if (chunk === undefined) return this.#awaitMore();
      this.#read(chunk);
    }
    if (this.#phase !== 'idle') return;
    // Goes on when the client has taken it, or ends when it takes nothing for too long.
    this.#unread.pause();
    this.#deadlineMs = Infinity;
  }

  /** @returns whether the body is over. */
  #discard(chunk: Buffer): boolean {
    if (!this.#body.discard(chunk)) return false;
    // An answer here would be a second one to the request.
    if (this.#body.faulty) this.#close();
    else this.#next();
    return true;
  }

  /** By a reset where an end would be taken for one. */
  breakOff(): void {
    if (this.#tunnel !== undefined || this.#call?.head.minor === 0) resetSocket(this.socket);
    else this.socket.destroy();
  }

  /** Before it was a call: answered as the last thing on the connection. */
  #refuse(error: AppError, options: ProblemOptions = {}): void {
    this.deps.onRefused(this.client, writeRefusal(this.deps.writer, error, options));
    this.answer.flush();
    this.#close();
  }

  #refuseFault(fault: Fault | undefined): void {
    const { status, what } = fault ?? { status: 400, what: 'not valid HTTP' };
    this.#refuse(faultError({ status, what }), { status });
  }

  /** What the client still sends is read and thrown away for a while: a reset would take its answer from it. */
  #close(): void {
    this.#phase = 'closing';
    this.#head.stop();
    this.#unread.drop();
    this.#deadlineMs = this.deps.routing.clock.nowMs() + lingerMs;
    this.socket.end();
    this.#unread.resume();
  }

  get bufferedBytes(): number {
    return this.answer.waitingBytes;
  }

  /** Of a request that is half here the answer comes too. */
  finish(): void {
    if (this.#phase !== 'idle' || !this.#unread.empty) return;
    if (this.socket.bytesRead === 0) this.#deadlineMs = this.deps.routing.clock.nowMs() + newcomerMs;
    else this.#end();
  }

  mayGiveWay(idleSinceMs: number): boolean {
    const { keepAliveMs, headTimeoutMs } = this.deps.limits;
    const deadlineOf: Partial<Record<Phase, number>> = { idle: keepAliveMs, head: headTimeoutMs, closing: lingerMs };
    const withinMs = deadlineOf[this.#phase];
    return withinMs !== undefined && this.#deadlineMs - withinMs <= idleSinceMs && unsentBytes(this.socket) === 0;
  }

  /** An answer may still be in the hands of the kernel, and a reset would take it from the client. */
  get lingers(): boolean {
    return this.#phase !== 'closing' && this.socket.bytesWritten > 0;
  }

  giveWay(): void {
    if (this.lingers) this.#close();
    else this.socket.destroy();
  }

  /** What the client has still to take of its answers may arrive. */
  #end(): void {
    if (unsentBytes(this.socket) > 0) this.#close();
    else this.socket.destroy();
  }

  // ---- Upgrade

  get upgrade(): TunnelHost {
    return this;
  }

  switchTo(tunnel: ClientTunnel, block: Buffer, parser: ResponseParser): void {
    this.answer.switch(block, parser);
    const call = this.#call;
    this.#call = undefined;
    this.#body.leave();
    this.#phase = 'tunnel';
    this.#tunnel = tunnel;
    this.#deadlineMs = Infinity;
    call?.becomeTunnel();
  }

  start(): void {
    // First: the tunnel may hold the client up at once.
    this.#unread.resume();
    for (let chunk = this.#unread.shift(); chunk !== undefined; chunk = this.#unread.shift()) {
      this.#tunnel?.fromClient(chunk);
    }
    if (this.#leavesAtMs !== Infinity) this.#tunnel?.clientEnded();
  }

  // ---- What the socket tells

  ended(): void {
    switch (this.#phase) {
      case 'tunnel':
        return this.#tunnel?.clientEnded();
      case 'idle':
      case 'closing':
        return this.#end();
      case 'call':
        // What is missing of the body may have been read and not been wanted yet.
        if (this.#call?.attempt === undefined || (!this.#body.arrived && this.#unread.empty)) break;
        this.#halfClosed(this.deps.routing.clock.nowMs());
        return;
      case 'head':
      case 'discard':
      case 'closed':
    }
    this.socket.destroy();
  }

  #halfClosed(nowMs: number): void {
    this.#sentBytes = this.socket.bytesWritten;
    this.#leavesAtMs = nowMs + halfClosedMs;
    this.#deadlineMs = this.#leavesAtMs;
  }

  drained(): void {
    this.answer.drained();
    if (this.#tunnel !== undefined) this.#tunnel.clientDrained();
    else if (this.#phase === 'idle') this.#next();
    else this.#body.sink?.clientDrained();
  }

  gone(errored: boolean): void {
    const call = this.#call;
    this.#phase = 'closed';
    this.#call = undefined;
    this.#body.leave();
    this.deps.deadlines.delete(this);
    this.#head.close();
    this.#unread.drop();
    this.answer.close();
    call?.close();
    this.#tunnel?.clientClosed(errored);
    this.#tunnel = undefined;
    this.deps.onClosed(this);
  }

  checkDeadlines(nowMs: number): void {
    this.#unread.lookBehind(nowMs);
    if (nowMs >= this.#deadlineMs) this.#deadlineOver(nowMs);
    if (nowMs >= this.#body.deadlineMs) this.#body.timeOut();
    // A body that is not whole is held up by its app.
    if (this.#phase === 'call' && (this.#body.arrived || this.#call?.attempt === undefined))
      this.#unread.readFurther(nowMs);
    const stalledMs = this.answer.stalledMs(nowMs);
    if (stalledMs >= this.deps.limits.answerStallMs && this.#phase !== 'tunnel') resetSocket(this.socket);
  }

  #deadlineOver(nowMs: number): void {
    this.#deadlineMs = Infinity;
    switch (this.#phase) {
      case 'head':
        this.#refuse(new AppError('request_timeout', 'The request head did not arrive in time.'));
        return;
      case 'idle':
        this.#end();
        return;
      case 'discard':
      case 'closing':
        // A client that is still at its answer is not late yet.
        if (unsentBytes(this.socket) > 0) this.#deadlineMs = nowMs + lingerMs;
        else this.socket.destroy();
        return;
      case 'call':
        // One that has closed would answer a write with a reset.
        if (unsentBytes(this.socket) > 0 || this.socket.bytesWritten > this.#sentBytes) this.#halfClosed(nowMs);
        else this.socket.destroy();
        return;
      case 'tunnel':
      case 'closed':
    }
  }
}

function takeUnread(connection: Connection): void {
  connection.takeUnread();
}
