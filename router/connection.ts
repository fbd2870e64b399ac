/**
 * One connection of a client: requests one after the other, each with its answer before the next is looked at, however many
 * came together. It reads on while a call waits, so that a client that leaves is seen, up to a small bound; behind that
 * bound the kernel holds the client up, and its leaving is seen when its bytes are taken. A client that ends its half counts
 * as one that has left, as a close looks the same; only a tunnel has halves.
 */
import type { BlockList, Socket } from 'node:net';
import { AppError, toAppError, type ErrorOwner } from '../shared/errors.ts';
import { rawAnswer, toProblem, type ProblemOptions } from '../shared/problem.ts';
import { Call, type CallRouting } from './call.ts';
import { Client } from './client.ts';
import type { Deadlines, Timed } from './deadlines.ts';
import { BodyReader } from './http1/body-reader.ts';
import type { FieldParser, Fault } from './http1/field-parser.ts';
import type { HeadWriter } from './http1/head-writer.ts';
import { RequestParser } from './http1/request-parser.ts';
import type { Ids } from './ids.ts';
import type { ReadAhead } from './read-ahead.ts';
import { faultError, refusedMethod } from './refusal.ts';
import { readRequestHead, requestIdOf, type RequestHead } from './request-head.ts';

export interface ConnectionLimits {
  readonly maxHeaderBytes: number;
  readonly maxFields: number;
  readonly maxTrailerBytes: number;
  /** That wait for a peer that takes them slower than they come, of one stream in one direction. */
  readonly streamBytes: number;
  readonly headTimeoutMs: number;
  readonly keepAliveMs: number;
  /** For the whole body once it is read; 0 is no limit. */
  readonly bodyTimeoutMs: number;
  /** Between two parts of a body. */
  readonly bodyStallMs: number;
  /** In which the client takes nothing of what waits for it. */
  readonly answerStallMs: number;
}

/** What all connections share. */
export interface ConnectionDeps {
  readonly routing: CallRouting;
  readonly limits: ConnectionLimits;
  readonly deadlines: Deadlines;
  readonly readAhead: ReadAhead;
  /** Holds the head that was looked at last. */
  readonly parser: RequestParser;
  readonly writer: HeadWriter;
  readonly ids: Ids;
  readonly trusted: BlockList;
  /** What says that a connection stays open, and for how long. */
  readonly keepAliveFields: string;
  /** No answer may be followed by another request. */
  readonly closing: () => boolean;
  /** A request was refused before it was a call. */
  readonly onRefused: (status: number) => void;
  readonly onClosed: (connection: Connection) => void;
}

export interface Trailers {
  readonly bytes: Buffer;
  readonly fields: FieldParser;
}

/** Who takes the body of a call, and who gives its answer. */
export interface Exchanging {
  /** @returns whether more may come at once. */
  requestBody(bytes: Buffer, start: number, end: number, done: boolean, trailers: Trailers | undefined): boolean;
  requestFault(error: AppError): void;
  /** The client has taken what it had to take. */
  clientDrained(): void;
}

/** A connection that is not HTTP any more. */
export interface ClientTunnel {
  fromClient(chunk: Buffer): void;
  clientEnded(): void;
  clientDrained(): void;
  clientClosed(errored: boolean): void;
}

/** While a call waits, its connection is read up to here. */
const maxWaitingBytes = 16_384;
/** A client that goes on sending after its answer, or does not close, has so long. */
const lingerMs = 5_000;

type Phase = 'idle' | 'head' | 'call' | 'discard' | 'closing' | 'tunnel' | 'closed';

export class Connection implements Timed {
  readonly socket: Socket;
  readonly client: Client;
  readonly deps: ConnectionDeps;
  #phase: Phase = 'idle';
  #call: Call | undefined;
  #exchange: Exchanging | undefined;
  #tunnel: ClientTunnel | undefined;
  /** A head that is not whole. */
  #partial: { readonly parser: RequestParser; block: Buffer; length: number } | undefined;
  /** Read, and not looked at yet. */
  #unread: Buffer[] | undefined;
  #unreadBytes = 0;
  #body: BodyReader | undefined;
  #bodyDone = true;
  #paused = false;
  #deadlineMs: number;
  #bodyUntilMs = Infinity;
  #closeAfter = false;
  /** Bytes that wait for the client, when last looked at, and since when there are no fewer. */
  #waitingBytes = 0;
  #waitingSinceMs = 0;

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.socket = socket;
    this.deps = deps;
    this.client = new Client(socket, deps.trusted);
    this.#deadlineMs = deps.routing.clock.nowMs() + deps.limits.keepAliveMs;
    (socket as ClientSocket).connection = this;
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('drain', onDrain);
    socket.on('error', onError);
    socket.on('close', onClose);
    deps.deadlines.add(this);
  }

  /** Nothing is under way. */
  get idle(): boolean {
    return this.#phase === 'idle' && this.#unread === undefined;
  }

  /** Bytes that wait for the client. */
  get buffered(): number {
    return this.socket.writableLength;
  }

  /** The head of a call in the shared parser, where it is or is brought again. */
  parsed(head: RequestHead): RequestParser {
    const { parser } = this.deps;
    if (parser.parsed === head) return parser;
    parser.begin(head.start);
    parser.parse(head.bytes, head.bytes.length);
    parser.parsed = head;
    return parser;
  }

  // ---- The request

  data(chunk: Buffer): void {
    switch (this.#phase) {
      case 'idle':
        this.#parse(chunk);
        return;
      case 'head':
        this.#parseMore(chunk);
        return;
      case 'call':
        if (this.#exchange !== undefined && !this.#bodyDone && this.#unread === undefined) this.#feed(chunk);
        else this.#keep(chunk);
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

  #parse(chunk: Buffer): void {
    const { parser, limits } = this.deps;
    parser.parsed = undefined;
    parser.begin(0);
    switch (parser.parse(chunk, chunk.length)) {
      case 'done':
        if (parser.end > limits.maxHeaderBytes) this.#refuseFault(tooLarge(parser.targetEnd > limits.maxHeaderBytes));
        else this.#take(parser, chunk, chunk, parser.end);
        return;
      case 'bad':
        this.#refuseFault(parser.fault);
        return;
      case 'more':
        this.#phase = 'head';
        this.#deadlineMs = this.deps.routing.clock.nowMs() + limits.headTimeoutMs;
        this.#partial = {
          parser: new RequestParser({ maxFields: limits.maxFields }),
          block: Buffer.allocUnsafeSlow(Math.min(limits.maxHeaderBytes, Math.max(1_024, 2 * chunk.length))),
          length: 0,
        };
        this.deps.readAhead.take(this.#partial.block.length);
        this.#parseMore(chunk);
    }
  }

  #parseMore(chunk: Buffer): void {
    const partial = this.#partial;
    if (partial === undefined) return;
    const { limits, readAhead } = this.deps;
    const before = partial.length;
    const count = Math.min(chunk.length, limits.maxHeaderBytes - before);
    if (before + count > partial.block.length) {
      const block = Buffer.allocUnsafeSlow(Math.min(limits.maxHeaderBytes, 2 * (before + count)));
      partial.block.copy(block, 0, 0, before);
      readAhead.take(block.length - partial.block.length);
      partial.block = block;
    }
    chunk.copy(partial.block, before, 0, count);
    partial.length += count;
    const { parser, block } = partial;
    switch (parser.parse(block, partial.length)) {
      case 'done':
        this.#dropPartial();
        this.#take(parser, block, chunk, parser.end - before);
        return;
      case 'bad':
        this.#refuseFault(parser.fault);
        return;
      case 'more':
        if (partial.length >= limits.maxHeaderBytes) this.#refuseFault(tooLarge(parser.inRequestLine));
        else if (readAhead.full) this.#refuse(tooBusy());
    }
  }

  #dropPartial(): void {
    if (this.#partial === undefined) return;
    this.deps.readAhead.give(this.#partial.block.length);
    this.#partial = undefined;
  }

  /** A head is whole; what came behind it begins at `rest` of `chunk`. */
  #take(parser: RequestParser, block: Buffer, chunk: Buffer, rest: number): void {
    const { routing } = this.deps;
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
    this.#deadlineMs = Infinity;
    this.#bodyDone = !head.chunked && head.contentLength === 0;
    if (!this.#bodyDone) {
      const body = (this.#body ??= new BodyReader(this.deps.limits));
      if (head.chunked) body.beginChunked();
      else body.beginLength(head.contentLength);
    }
    const call = new Call(this, head, routing);
    this.#call = call;
    if (rest < chunk.length) this.#unshiftUnread(rest === 0 ? chunk : chunk.subarray(rest));
    if (this.#unreadBytes >= maxWaitingBytes) this.#pause();
    routing.route(call);
  }

  /** The call is being answered: from now on what there is of a body goes to `exchange`. */
  readBody(exchange: Exchanging): void {
    this.#exchange = exchange;
    if (this.#bodyDone) return;
    const { clock } = this.deps.routing;
    const { bodyTimeoutMs, bodyStallMs } = this.deps.limits;
    const nowMs = clock.nowMs();
    this.#bodyUntilMs = bodyTimeoutMs === 0 ? Infinity : nowMs + bodyTimeoutMs;
    this.#deadlineMs = Math.min(this.#bodyUntilMs, nowMs + bodyStallMs);
    this.#resume();
    this.resumeBody();
  }

  /** The exchange takes more of the body. */
  resumeBody(): void {
    while (this.#unread !== undefined && !this.#bodyDone && this.#exchange !== undefined) {
      const chunk = this.#shiftUnread();
      if (chunk === undefined || !this.#feed(chunk)) return;
    }
    if (!this.#bodyDone) this.#resume();
  }

  #feed(chunk: Buffer): boolean {
    const { deps } = this;
    const exchange = this.#exchange;
    const body = this.#body;
    if (exchange === undefined || body === undefined) return false;
    body.read(chunk, 0, chunk.length);
    if (body.fault !== undefined) {
      this.#closeAfter = true;
      this.#bodyDone = true;
      exchange.requestFault(faultError(body.fault));
      return false;
    }
    const { done, next } = body;
    this.#bodyDone = done;
    this.#deadlineMs = done
      ? Infinity
      : Math.min(this.#bodyUntilMs, deps.routing.clock.nowMs() + deps.limits.bodyStallMs);
    if (done && next < chunk.length) this.#unshiftUnread(chunk.subarray(next));
    if (exchange.requestBody(chunk, body.dataStart, body.dataEnd, done, done ? body.trailers : undefined)) return true;
    if (!this.#bodyDone && this.#exchange !== undefined) {
      this.#pause();
      // It is the app that is slow, not the client.
      this.#deadlineMs = this.#bodyUntilMs;
    }
    return false;
  }

  /** Read before it is wanted. */
  #keep(chunk: Buffer): void {
    (this.#unread ??= []).push(chunk);
    this.#unreadBytes += chunk.length;
    const { readAhead } = this.deps;
    readAhead.take(chunk.length);
    if (this.#unreadBytes >= maxWaitingBytes) this.#pause();
    if (readAhead.full && this.#call?.attempt === undefined) {
      this.#closeAfter = true;
      this.#call?.refuse(tooBusy());
    }
  }

  #shiftUnread(): Buffer | undefined {
    const chunk = this.#unread?.shift();
    if (this.#unread?.length === 0) this.#unread = undefined;
    if (chunk !== undefined) {
      this.#unreadBytes -= chunk.length;
      this.deps.readAhead.give(chunk.length);
    }
    return chunk;
  }

  #unshiftUnread(chunk: Buffer): void {
    (this.#unread ??= []).unshift(chunk);
    this.#unreadBytes += chunk.length;
    this.deps.readAhead.take(chunk.length);
  }

  #dropUnread(): void {
    this.deps.readAhead.give(this.#unreadBytes);
    this.#unread = undefined;
    this.#unreadBytes = 0;
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.socket.resume();
  }

  // ---- The answer

  /** How the connection goes on after this answer, as fields; notes it. */
  connectionFields(call: Call, endsWithConnection: boolean): string {
    const { routing, closing } = this.deps;
    const { head } = call;
    if (
      endsWithConnection ||
      !head.keepAlive ||
      head.upgrade !== undefined ||
      call.expectsContinue ||
      routing.draining() ||
      closing() ||
      this.#closeAfter
    ) {
      this.#closeAfter = true;
      return 'Connection: close\r\n';
    }
    return this.deps.keepAliveFields;
  }

  /** Sends what is composed. @returns whether the client takes it as fast as it comes. */
  flush(): boolean {
    const { socket } = this;
    this.deps.writer.send(socket);
    return socket.writableLength <= this.deps.limits.streamBytes;
  }

  writeContinue(): void {
    this.socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
  }

  answerProblem(
    call: Call,
    error: AppError,
    as: { readonly status: number; readonly owner: ErrorOwner } | undefined,
  ): void {
    const requestId = requestIdOf(call.head);
    // Without its 100 the client may leave the body out: what comes next on the connection would be in doubt.
    const close = this.connectionFields(call, false).startsWith('Connection: close');
    const problem = toProblem(error, {
      ...as,
      instance: requestId,
      headers: { 'X-Request-Id': requestId, Connection: close ? 'close' : 'keep-alive' },
    });
    const { writer } = this.deps;
    writer.utf8(rawAnswer(call.head.method === 'HEAD' ? { ...problem, body: '' } : problem));
    this.flush();
    this.answered();
  }

  /** The whole answer was handed over. */
  answered(): void {
    const call = this.#call;
    this.#call = undefined;
    this.#exchange = undefined;
    call?.close();
    if (this.#phase !== 'call') return;
    if (this.#closeAfter || this.deps.closing()) {
      this.#close();
      return;
    }
    if (!this.#bodyDone) {
      // The rest of the body is read away, so that the client gets to read its answer.
      this.#phase = 'discard';
      this.#deadlineMs = this.deps.routing.clock.nowMs() + lingerMs;
      this.#resume();
      for (let chunk = this.#shiftUnread(); chunk !== undefined; chunk = this.#shiftUnread()) {
        if (this.#discard(chunk)) return;
      }
      return;
    }
    this.#next();
  }

  #next(): void {
    this.#phase = 'idle';
    this.#deadlineMs = this.deps.routing.clock.nowMs() + this.deps.limits.keepAliveMs;
    if (this.#unread !== undefined) process.nextTick(takeUnread, this);
    else this.#resume();
  }

  /** The next request has come already. */
  takeUnread(): void {
    while (this.#unread !== undefined && (this.#phase === 'idle' || this.#phase === 'head')) {
      const chunk = this.#shiftUnread();
      if (chunk !== undefined) this.data(chunk);
    }
    if (this.#phase === 'idle' || this.#phase === 'head') this.#resume();
  }

  /** @returns whether the body is over. */
  #discard(chunk: Buffer): boolean {
    const body = this.#body;
    if (body === undefined) return true;
    body.read(chunk, 0, chunk.length);
    if (body.fault !== undefined) {
      // An answer here would be a second one to the request.
      this.socket.destroy();
      return true;
    }
    if (!body.done) return false;
    this.#bodyDone = true;
    if (body.next < chunk.length) this.#unshiftUnread(chunk.subarray(body.next));
    this.#next();
    return true;
  }

  /** Ends the connection so that the client sees that the answer is not whole; by a reset where no length tells it. */
  breakOff(): void {
    if (this.#call?.head.minor === 0) this.socket.resetAndDestroy();
    else this.socket.destroy();
  }

  /** Before it was a call: answered as the last thing on the connection. */
  #refuse(error: AppError, options: ProblemOptions = {}): void {
    const problem = toProblem(error, { ...options, headers: { Connection: 'close', ...options.headers } });
    this.deps.onRefused(problem.status);
    this.deps.writer.utf8(rawAnswer(problem));
    this.flush();
    this.#close();
  }

  #refuseFault(fault: Fault | undefined): void {
    const { status, what } = fault ?? { status: 400, what: 'not valid HTTP' };
    this.#refuse(faultError({ status, what }), { status });
  }

  /** What the client still sends is read and thrown away for a while: a reset would take its answer from it. */
  #close(): void {
    this.#phase = 'closing';
    this.#dropPartial();
    this.#dropUnread();
    this.#deadlineMs = this.deps.routing.clock.nowMs() + lingerMs;
    this.socket.end();
    this.#resume();
  }

  /** No further request: an idle one is closed now, another one after its answer. */
  finish(): void {
    if (this.idle || this.#phase === 'head') this.socket.destroy();
  }

  // ---- Upgrade

  /** From here on the bytes both ways are not ours to understand. */
  becomeTunnel(tunnel: ClientTunnel): void {
    const call = this.#call;
    this.#call = undefined;
    this.#exchange = undefined;
    this.#phase = 'tunnel';
    this.#tunnel = tunnel;
    this.#deadlineMs = Infinity;
    call?.becomeTunnel();
  }

  /** What the client sent before its upgrade was answered. */
  startTunnel(): void {
    for (let chunk = this.#shiftUnread(); chunk !== undefined; chunk = this.#shiftUnread()) {
      this.#tunnel?.fromClient(chunk);
    }
    this.#resume();
  }

  // ---- What the socket tells

  ended(): void {
    switch (this.#phase) {
      case 'tunnel':
        this.#tunnel?.clientEnded();
        return;
      case 'idle':
      case 'closing':
        // Answers on the way may still arrive.
        if (this.socket.writableLength > 0) this.socket.end();
        else this.socket.destroy();
        return;
      case 'head':
      case 'call':
      case 'discard':
        this.socket.destroy();
        return;
      case 'closed':
    }
  }

  drained(): void {
    if (this.#tunnel !== undefined) this.#tunnel.clientDrained();
    else this.#exchange?.clientDrained();
  }

  gone(errored: boolean): void {
    const call = this.#call;
    this.#phase = 'closed';
    this.#call = undefined;
    this.#exchange = undefined;
    this.deps.deadlines.delete(this);
    this.#dropPartial();
    this.#dropUnread();
    call?.close();
    this.#tunnel?.clientClosed(errored);
    this.#tunnel = undefined;
    this.deps.onClosed(this);
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs >= this.#deadlineMs) this.#deadlineOver();
    const { writableLength } = this.socket;
    if (writableLength !== this.#waitingBytes) {
      this.#waitingBytes = writableLength;
      this.#waitingSinceMs = nowMs;
    } else if (writableLength > 0 && nowMs - this.#waitingSinceMs >= this.deps.limits.answerStallMs) {
      if (this.#phase !== 'tunnel') this.socket.resetAndDestroy();
    }
  }

  #deadlineOver(): void {
    this.#deadlineMs = Infinity;
    switch (this.#phase) {
      case 'head':
        this.#refuse(new AppError('request_timeout', 'The request head did not arrive in time.'));
        return;
      case 'call':
        this.#closeAfter = true;
        this.#exchange?.requestFault(new AppError('request_timeout', 'The request body did not arrive in time.'));
        return;
      case 'idle':
        if (this.socket.writableLength > 0) this.socket.end();
        else this.socket.destroy();
        return;
      case 'discard':
      case 'closing':
        this.socket.destroy();
        return;
      case 'tunnel':
      case 'closed':
    }
  }
}

interface ClientSocket extends Socket {
  connection: Connection;
}

// One function each for all sockets, with the state on the socket.

function onData(this: Socket, chunk: Buffer): void {
  (this as ClientSocket).connection.data(chunk);
}

function onEnd(this: Socket): void {
  (this as ClientSocket).connection.ended();
}

function onDrain(this: Socket): void {
  (this as ClientSocket).connection.drained();
}

function onError(): void {
  // 'close' follows and is what counts.
}

function onClose(this: Socket, hadError: boolean): void {
  (this as ClientSocket).connection.gone(hadError);
}

function takeUnread(connection: Connection): void {
  connection.takeUnread();
}

function tooLarge(inRequestLine: boolean): Fault {
  return inRequestLine
    ? { status: 414, what: 'the request line is over the limit' }
    : { status: 431, what: 'the header section is over the limit' };
}

function tooBusy(): AppError {
  return new AppError('hold_full', 'Too much waits in this router.', { retryAfterMs: 2_000 });
}
