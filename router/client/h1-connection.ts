/**
 * One connection of a client that speaks HTTP/1.1: requests one after the other, each with its answer before the next is looked
 * at, however many came together. It reads on while a call waits, so that a client that leaves is seen, up to a bound that grows
 * while there is room; behind that the kernel holds the client back, and its leaving is seen once its bytes are taken.
 */
import type { Socket } from 'node:net';
import { AppError } from '../../shared/errors.ts';
import type { ClientTunnel } from '../call/client-side.ts';
import { overloaded, Refusal } from '../call/refusal.ts';
import { resetSocket, type SocketOwner } from '../io/client-socket.ts';
import { unsentBytes } from '../io/socket-state.ts';
import { PeerIdentity } from '../message/peer-identity.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { ClientConnection, ConnectionDeps } from './connection-deps.ts';
import { H1ClientSide, type CallCarrier } from './h1-client-side.ts';
import { HalfClose } from './h1-half-close.ts';
import { H1HeadReader } from './h1-head-reader.ts';
import { ReadAheadQueue } from './h1-read-ahead.ts';

/** A client that goes on sending after its last answer, or does not close, is cut off after this. */
const lingerMs = 5_000;
/** A new connection has this long for its first request when the router drains: it is on its way. */
const newcomerMs = 1_000;

/**
 * `idle`: between requests · `head`: part of a head has come · `call`: one is being answered · `discard`: its answer is sent, and
 * the rest of its body is dropped · `closing`: the last answer is sent, and what comes is dropped · `tunnel`: after a 101 ·
 * `closed`: over, or handed over to HTTP/2
 */
type Phase = 'idle' | 'head' | 'call' | 'discard' | 'closing' | 'tunnel' | 'closed';

export class H1Connection implements ClientConnection, CallCarrier, SocketOwner {
  readonly socket: Socket;
  readonly isHttp2 = false;
  readonly #deps: ConnectionDeps;
  readonly #client: PeerIdentity;
  readonly #head: H1HeadReader;
  readonly #unread: ReadAheadQueue;
  readonly #side: H1ClientSide;
  #phase: Phase = 'idle';
  #tunnel: ClientTunnel | undefined;
  #halfClose: HalfClose | undefined;
  /** When the phase must be over. */
  #deadlineMs: number;

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.socket = socket;
    this.#deps = deps;
    this.#client = new PeerIdentity(socket, deps.trust);
    this.#head = new H1HeadReader(this.#client, deps);
    this.#unread = new ReadAheadQueue(socket, deps.readAhead, deps.sockets);
    this.#side = new H1ClientSide(this, this.#unread, deps);
    this.#deadlineMs = this.#in(deps.limits.keepAliveMs);
    deps.sockets.listen(socket, this);
    deps.deadlines.add(this);
  }

  // ---- Bytes of the client

  data(chunk: Buffer): void {
    switch (this.#phase) {
      case 'idle':
      case 'head':
        // Bytes that were read before are parsed in a moment: out of order these would be another request.
        if (this.#unread.empty) this.#read(chunk);
        else this.#unread.push(chunk);
        return;
      case 'call':
        if (!this.#side.takeBody(chunk)) this.#keep(chunk);
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
    const head = this.#head.read(chunk);
    if (head === undefined) this.#awaitHead();
    else if (!(head instanceof Refusal)) this.#begin(head, chunk);
    else if (this.#deps.takeHttp2(this, this.#head.received(chunk))) this.#leave();
    else this.#refuse(head);
  }

  #awaitHead(): void {
    if (this.#phase === 'idle') {
      this.#phase = 'head';
      this.#deadlineMs = this.#in(this.#deps.limits.headTimeoutMs);
    }
    if (this.#deps.readAhead.full) this.#refuse(new Refusal(overloaded()));
  }

  #begin(head: RequestHead, chunk: Buffer): void {
    const { rest, bodyEnd } = this.#head;
    this.#phase = 'call';
    this.#deadlineMs = Infinity;
    const call = this.#side.begin(head, bodyEnd);
    if (rest < chunk.length) this.#unread.unshift(rest === 0 ? chunk : chunk.subarray(rest));
    this.#unread.pauseIfMany();
    this.#deps.routing.route(call);
  }

  /** Keeps what was read before it is wanted. */
  #keep(chunk: Buffer): void {
    this.#unread.push(chunk);
    if (this.#deps.readAhead.full && this.#side.isWaiting) this.#side.refuseOverloaded();
  }

  /** @returns whether the body is over. */
  #discard(chunk: Buffer): boolean {
    if (!this.#side.discardBody(chunk)) return false;
    // An answer to a malformed body would be the second one to its request.
    if (this.#side.answer.closes) this.#close();
    else this.#next();
    return true;
  }

  // ---- Between calls

  callAnswered(): void {
    if (this.#phase !== 'call') return;
    if (this.#side.answer.closes || this.#deps.closing()) this.#close();
    else if (this.#side.bodyDone) this.#next();
    else {
      // The client reads its answer once it has sent its body.
      this.#phase = 'discard';
      this.#deadlineMs = this.#in(lingerMs);
      this.#unread.resume();
      for (let chunk = this.#unread.shift(); chunk !== undefined; chunk = this.#unread.shift()) {
        if (this.#discard(chunk)) return;
      }
    }
  }

  #next(): void {
    this.#phase = 'idle';
    this.#head.release();
    this.#deadlineMs = this.#in(this.#deps.limits.keepAliveMs);
    if (!this.#unread.empty || this.#side.answer.pending.update()) process.nextTick(takeUnread, this);
    else this.#awaitMore();
  }

  #awaitMore(): void {
    if (this.#halfClose === undefined) this.#unread.resume();
    else if (this.#phase === 'idle') this.#end();
    else this.socket.destroy();
  }

  /** Parses requests that have come already, as long as the client takes its answers: the next one would come on top of them. */
  takeUnread(): void {
    const { pending } = this.#side.answer;
    while ((this.#phase === 'idle' && !pending.update()) || this.#phase === 'head') {
      const chunk = this.#unread.shift();
      if (chunk === undefined) return this.#awaitMore();
      this.#read(chunk);
    }
    if (this.#phase !== 'idle') return;
    // Goes on when the client has taken its answers; one that takes nothing for too long is cut off.
    this.#unread.pause();
    this.#deadlineMs = Infinity;
  }

  // ---- Upgrade

  callBecame(tunnel: ClientTunnel): void {
    this.#phase = 'tunnel';
    this.#tunnel = tunnel;
    this.#deadlineMs = Infinity;
  }

  startTunnel(): void {
    // First, since the tunnel may pause the client at once.
    this.#unread.resume();
    for (let chunk = this.#unread.shift(); chunk !== undefined; chunk = this.#unread.shift()) {
      this.#tunnel?.fromClient(chunk);
    }
    if (this.#halfClose !== undefined) this.#tunnel?.clientEnded();
  }

  // ---- Ends

  /** Answers a request that does not become a call, as the last one of the connection. */
  #refuse(refusal: Refusal): void {
    this.#deps.onRefused(this.#client, refusal.status, refusal.error);
    this.#side.answer.refusal(refusal);
    this.#close();
  }

  /** Reads and drops for a while what the client still sends: a reset would take its answer from it. */
  #close(): void {
    this.#phase = 'closing';
    this.#head.stop();
    this.#unread.drop();
    this.#deadlineMs = this.#in(lingerMs);
    this.socket.end();
    this.#unread.resume();
  }

  /** Closes, once what the client has not taken of its answers has arrived. */
  #end(): void {
    if (unsentBytes(this.socket) > 0) this.#close();
    else this.socket.destroy();
  }

  /** HTTP/2 goes on with the socket. */
  #leave(): void {
    this.#phase = 'closed';
    this.#head.stop();
  }

  /** A request of which a part has come gets its answer. */
  drain(): void {
    if (this.#phase !== 'idle' || !this.#unread.empty) return;
    if (this.socket.bytesRead === 0) this.#deadlineMs = this.#in(newcomerMs);
    else this.#end();
  }

  isEvictable(idleSinceMs: number): boolean {
    const beganMs = this.#deadlineMs - this.#phaseMs;
    return beganMs <= idleSinceMs && unsentBytes(this.socket) === 0;
  }

  /** Time that the phase has from its beginning; -Infinity for a phase that is not idle. */
  get #phaseMs(): number {
    const { keepAliveMs, headTimeoutMs } = this.#deps.limits;
    switch (this.#phase) {
      case 'idle':
        return keepAliveMs;
      case 'head':
        return headTimeoutMs;
      case 'closing':
        return lingerMs;
      case 'call':
      case 'discard':
      case 'tunnel':
      case 'closed':
        return -Infinity;
    }
  }

  /** An answer may still be in the hands of the kernel, and a reset would take it from the client. */
  get lingers(): boolean {
    return this.#phase !== 'closing' && this.socket.bytesWritten > 0;
  }

  evict(): void {
    if (this.lingers) this.#close();
    else this.socket.destroy();
  }

  get bufferedBytes(): number {
    return this.#side.answer.waitingBytes;
  }

  // ---- Events of the socket

  /** The client has ended its half: a call that waits is given up, one at its app goes on as long as it is being answered. */
  ended(): void {
    switch (this.#phase) {
      case 'tunnel':
        return this.#tunnel?.clientEnded();
      case 'idle':
      case 'closing':
        return this.#end();
      case 'call':
        // What is missing of the body may have been read and not been wanted yet.
        if (this.#side.isWaiting || (!this.#side.bodyArrived && this.#unread.empty)) break;
        this.#halfClose = new HalfClose(this.socket, this.#deps.routing.clock.nowMs());
        return;
      case 'head':
      case 'discard':
      case 'closed':
    }
    this.socket.destroy();
  }

  drained(): void {
    this.#side.answer.pending.update();
    if (this.#tunnel !== undefined) this.#tunnel.clientDrained();
    else if (this.#phase === 'idle') this.#next();
    else this.#side.drained();
  }

  gone(errored: boolean): void {
    this.#phase = 'closed';
    this.#deps.deadlines.delete(this);
    this.#head.close();
    this.#unread.drop();
    this.#side.gone();
    this.#tunnel?.clientClosed(errored);
    this.#tunnel = undefined;
    this.#deps.onClosed(this);
  }

  // ---- Deadlines

  checkDeadlines(nowMs: number): void {
    this.#unread.lookBehind(nowMs);
    if (nowMs >= this.#deadlineMs) this.#phaseOver(nowMs);
    this.#side.checkDeadlines(nowMs);
    if (this.#phase === 'call') this.#checkCall(nowMs);
    const stalledMs = this.#side.answer.pending.stalledMs(nowMs);
    if (stalledMs >= this.#deps.limits.answerStallMs && this.#phase !== 'tunnel') resetSocket(this.socket);
  }

  #checkCall(nowMs: number): void {
    const halfClose = this.#halfClose;
    if (halfClose !== undefined && nowMs >= halfClose.deadlineMs && !halfClose.extend(nowMs)) this.socket.destroy();
    // A body that is not whole is held back by its app.
    if (this.#side.bodyArrived || this.#side.isWaiting) this.#unread.readFurther(nowMs);
  }

  #phaseOver(nowMs: number): void {
    this.#deadlineMs = Infinity;
    switch (this.#phase) {
      case 'head':
        this.#refuse(new Refusal(new AppError('request_timeout', 'The request head did not arrive in time.')));
        return;
      case 'idle':
        this.#end();
        return;
      case 'discard':
      case 'closing':
        // A client that is still taking its answer is not late yet.
        if (unsentBytes(this.socket) > 0) this.#deadlineMs = nowMs + lingerMs;
        else this.socket.destroy();
        return;
      case 'call':
      case 'tunnel':
      case 'closed':
    }
  }

  #in(ms: number): number {
    return this.#deps.routing.clock.nowMs() + ms;
  }
}

function takeUnread(connection: H1Connection): void {
  connection.takeUnread();
}
