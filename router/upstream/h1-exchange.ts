/**
 * One attempt to have a call answered by a target: request out and answer back, streaming both ways, each side no faster
 * than the other takes.
 *
 * A call is sent again only where that cannot do a thing twice: when not a byte of it was sent (the dial failed, or the
 * idle socket turned out closed before the write), or once for GET and HEAD without body when a kept-alive socket was
 * closed before the answer began. A body is never sent twice. An answer that breaks off ends the client's connection or
 * stream, so that a part can never be taken for the whole.
 */
import { AppError } from '../../shared/errors.ts';
import { beginAnswer, passInterim, type Answer } from './answer.ts';
import type { App } from '../table/apps.ts';
import type { Attempt, Call } from '../call/call.ts';
import type { BodyEnd, RequestSink } from '../call/client-side.ts';
import { resumeReading } from '../io/direct-io.ts';
import type { ExchangeDeps } from './exchange-deps.ts';
import type { RequestParser } from '../message/request-parser.ts';
import type { LateStarter } from './late-starts.ts';
import { stripPrefix } from '../message/path.ts';
import { overloaded } from '../call/refusal.ts';
import { parsedAgain, writeRequestHead } from '../message/request-head.ts';
import { writeLastChunk } from '../message/response-head.ts';
import type { Target } from './targets.ts';
import { openTunnel } from './tunnel.ts';
import { maxIdleMs, type UpstreamConnection, type UpstreamUser } from './pool.ts';

/** An idle socket that closes under one call after another: treat the target as one that refuses. */
const maxStaleSockets = 3;
/** Used within so long, for a request that must not be sent twice. */
const unsafeIdleMs = 1_000;
/**
 * `waiting`: nothing sent · `sent`: the request goes out, no answer · `answering`: the head of the answer was passed on ·
 * `done`: it has nothing to do with the call any more.
 */
type Stage = 'waiting' | 'sent' | 'answering' | 'done';

export class Exchange implements Attempt, RequestSink, LateStarter, UpstreamUser {
  readonly #call: Call;
  readonly #app: App;
  readonly #target: Target;
  readonly #deps: ExchangeDeps;
  #upstream: UpstreamConnection | undefined;
  #stage: Stage = 'waiting';
  /** While a connection is being made: what the target calls it; 0: none is. */
  #dial = 0;
  #reused = false;
  /** Something of the answer has come. */
  #heard = false;
  #requestDone = false;
  /** The target counts its body as one that is on its way. */
  #uploading = false;
  /** The head of the request is in the writer still. */
  #composing = false;
  /** Of an answer head that is not whole. */
  #partial: Buffer | undefined;
  #answer: Answer | undefined;
  #clientSlow = false;

  private constructor(call: Call, app: App, target: Target, deps: ExchangeDeps) {
    this.#call = call;
    this.#app = app;
    this.#target = target;
    this.#deps = deps;
  }

  static send(call: Call, app: App, target: Target, deps: ExchangeDeps): void {
    const exchange = new Exchange(call, app, target, deps);
    call.attempt = exchange;
    target.inFlight += 1;
    const safe = repeatable(call);
    const idle = call.needsFresh ? undefined : target.pool.take(safe ? maxIdleMs : unsafeIdleMs, exchange);
    if (idle === undefined) {
      exchange.#dial = target.dialBegun();
      exchange.#upstream = target.pool.dial(exchange);
      return;
    }
    exchange.#upstream = idle;
    exchange.#reused = true;
    // A FIN that has come in this turn is seen before what must not be lost is written.
    if (safe) exchange.#start(undefined);
    else deps.lateStarts.add(exchange, call.head);
  }

  // ---- The call's side

  abort(): void {
    if (this.#stage === 'done') return;
    this.#leave();
    this.#upstream?.destroy();
  }

  requestBody(bytes: Buffer, start: number, end: number, last: BodyEnd | undefined): boolean {
    const { writer } = this.#deps;
    const upstream = this.#upstream;
    if (this.#stage === 'done' || upstream === undefined) return false;
    const { socket } = upstream;
    const { chunked } = this.#call.head;
    this.#app.bytes += end - start;
    this.#call.bytesReceived += end - start;
    // Copied: they are read over.
    if (chunked && end > start) writer.chunk(bytes, start, end);
    else writer.range(bytes, start, end);
    if (last !== undefined) {
      if (chunked) writeLastChunk(writer, last === 'no trailers' ? undefined : last);
      this.#requestDone = true;
      this.#uploaded();
    }
    if (!this.#composing) {
      writer.send(socket);
      if (last !== undefined) this.#awaitAnswer();
    }
    return !upstream.behind();
  }

  requestFault(error: AppError): void {
    if (this.#composing) this.#deps.writer.discard();
    this.#fail(error);
  }

  clientDrained(): void {
    if (!this.#clientSlow) return;
    this.#setClientSlow(false);
    if (this.#upstream !== undefined) resumeReading(this.#upstream.socket);
  }

  // ---- The target's side

  upstreamConnected(): void {
    this.#endDial();
    this.#target.connected();
    this.#deps.onConnected(this.#app, this.#target);
    if (this.#stage === 'waiting') this.#start(undefined);
  }

  upstreamBytes(bytes: Buffer, count: number): boolean {
    switch (this.#stage) {
      case 'sent':
        this.#heard = true;
        return this.#answerHead(bytes, count);
      case 'answering':
        return this.#answerBody(bytes, 0, count);
      case 'waiting':
        // Before it was asked.
        this.#upstream?.spokeOutOfTurn();
        return true;
      case 'done':
        return true;
    }
  }

  upstreamDrained(): void {
    if (!this.#requestDone) this.#call.clientSide.resumeBody();
  }

  upstreamEnded(): void {
    const ends = this.#stage === 'answering' && this.#answer?.body.endsWithConnection === true;
    if (ends && this.#upstream?.socket.endIsProper === true) {
      const { answer } = this.#call.clientSide;
      answer.end(undefined);
      answer.flush();
      this.#finish(false);
      return;
    }
    this.#upstream?.socket.destroy();
  }

  upstreamTimedOut(): void {
    if (this.#stage === 'waiting') {
      this.#upstream?.destroy();
      this.upstreamClosed(undefined);
    } else this.#fail(new AppError('upstream_timeout', 'The app did not begin its answer in time.'));
  }

  upstreamClosed(error: Error | undefined): void {
    const stage = this.#stage;
    if (stage === 'done') return;
    const call = this.#call;
    const dialFailed = this.#dial !== 0;
    this.#leave();
    switch (stage) {
      case 'waiting':
        if (!dialFailed && ++call.staleSockets < maxStaleSockets) call.needsFresh = true;
        else {
          call.needsFresh = false;
          this.#deps.onDialFailed(this.#app, this.#target, error === undefined);
        }
        call.again();
        return;
      case 'sent':
        if (this.#reused && !this.#heard && repeatable(call) && !call.needsFresh) {
          call.needsFresh = true;
          call.again();
          return;
        }
        call.refuse(
          new AppError('upstream_reset', 'The app closed the connection before it answered.', { cause: error }),
        );
        return;
      case 'answering':
        call.breakOff();
    }
  }

  // ---- The request

  start(parsed: RequestParser | undefined): void {
    if (this.#stage === 'waiting') this.#start(parsed);
  }

  #start(kept: RequestParser | undefined): void {
    const call = this.#call;
    const upstream = this.#upstream;
    // Closed while it waited for its turn: that is told in a moment.
    if (upstream === undefined || upstream.socket.destroyed) return;
    const { head, clientSide } = call;
    const { writer } = this.#deps;
    this.#stage = 'sent';
    const { path, prefix } = stripPrefix(head.path, this.#app.route);
    const parsed = kept ?? parsedAgain(this.#deps.requestParser, head);
    this.#app.bytes += parsed.end - head.start;
    writeRequestHead(writer, head, parsed, clientSide.client, {
      path,
      prefix: head.outerPrefix + prefix,
    });
    if (!head.chunked && head.contentLength === 0) {
      this.#requestDone = true;
      clientSide.readBody(this);
      writer.send(upstream.socket);
      this.#awaitAnswer();
      return;
    }
    upstream.socket.outlivesWrites = true;
    if (call.expectsContinue) {
      call.expectsContinue = false;
      clientSide.answer.continue();
    }
    this.#composing = true;
    clientSide.readBody(this);
    this.#composing = false;
    if (this.#stage !== 'sent') return;
    if (!this.#requestDone && !this.#beginUpload()) return;
    writer.send(upstream.socket);
    upstream.behind();
    if (this.#requestDone) this.#awaitAnswer();
  }

  /** Clients that send slowly, on purpose or not, must not have all the sockets that the calls of others need. */
  #beginUpload(): boolean {
    const { writer, limits } = this.#deps;
    if (this.#target.uploads >= limits.maxUploads) {
      writer.discard();
      this.#fail(overloaded('Too many requests are being uploaded to this app; try again.'));
      return false;
    }
    this.#uploading = true;
    this.#target.uploads += 1;
    return true;
  }

  #uploaded(): void {
    if (!this.#uploading) return;
    this.#uploading = false;
    this.#target.uploads -= 1;
  }

  #awaitAnswer(): void {
    if (this.#upstream !== undefined && this.#stage === 'sent') {
      this.#upstream.deadlineMs = this.#deps.clock.nowMs() + this.#deps.limits.headersTimeoutMs;
    }
  }

  // ---- The answer

  #answerHead(bytes: Buffer, count: number): boolean {
    const { parser, limits } = this.#deps;
    let block = bytes;
    let end = count;
    if (this.#partial !== undefined) {
      block = Buffer.concat([this.#partial, bytes.subarray(0, count)]);
      end = block.length;
    }
    let pos = 0;
    let more = true;
    for (;;) {
      parser.begin(pos);
      switch (parser.parse(block, end)) {
        case 'more':
          if (end - pos >= limits.maxHeaderBytes) return this.#broken('a head over the limit');
          // In bytes of its own: those are read over.
          this.#partial = Buffer.from(block.subarray(pos, end));
          this.#setClientSlow(!more);
          return more;
        case 'bad':
          return this.#broken(parser.fault ?? '');
        case 'done':
          break;
      }
      if (parser.end - pos > limits.maxHeaderBytes) return this.#broken('a head over the limit');
      if (parser.status === 101) return this.#switch(block, end);
      if (parser.status >= 200) break;
      more = passInterim(this.#call, block, this.#deps);
      pos = parser.end;
      if (pos === end) {
        this.#partial = undefined;
        this.#setClientSlow(!more);
        return more;
      }
    }
    this.#partial = undefined;
    return this.#finalHead(block, end);
  }

  #finalHead(block: Buffer, end: number): boolean {
    const { parser } = this.#deps;
    const upstream = this.#upstream as UpstreamConnection;
    upstream.deadlineMs = Infinity;
    this.#answer = beginAnswer(this.#call, block, upstream, this.#deps);
    this.#call.status = parser.status;
    this.#stage = 'answering';
    this.#app.bytes += parser.end;
    return this.#answerBody(block, parser.end, end);
  }

  /** Passes on what belongs to the body, with the head where that is still in the writer. */
  #answerBody(bytes: Buffer, start: number, end: number): boolean {
    const { answer } = this.#call.clientSide;
    const { body } = this.#answer as Answer;
    body.read(bytes, start, end);
    if (body.fault !== undefined) {
      // What was good of it goes, so that what the client has is what the app sent.
      answer.flush();
      this.#fail(new AppError('upstream_protocol', `The app answered with ${body.fault.what}.`));
      return true;
    }
    const count = body.dataEnd - body.dataStart;
    this.#app.bytes += count;
    this.#call.bytesSent += count;
    const owned = this.#upstream?.ownsBuffer === true && bytes === this.#upstream.buffer;
    const lent = count > 0 && answer.part(bytes, body.dataStart, body.dataEnd, owned);
    if (body.done) answer.end(body.trailers);
    const more = answer.flush();
    if (lent && answer.waitingBytes > 0) this.#upstream?.giveBufferAway();
    if (body.done) {
      // More than its answer: nobody knows what the next one would be.
      if (body.next !== end) this.#upstream?.spokeOutOfTurn();
      this.#finish(body.next === end);
      return true;
    }
    this.#setClientSlow(!more);
    return more;
  }

  #finish(clean: boolean): void {
    const upstream = this.#upstream;
    if (upstream !== undefined) {
      if (clean && this.#requestDone) upstream.release(this.#answer?.keepMs ?? 0);
      else upstream.destroy();
    }
    const call = this.#call;
    call.attempt = undefined;
    this.#leave();
    call.clientSide.answered();
  }

  #switch(block: Buffer, end: number): boolean {
    const call = this.#call;
    const upstream = this.#upstream;
    if (call.head.upgrade === undefined || call.clientSide.upgrade === undefined || upstream === undefined)
      return this.#broken('a switch of protocols that nobody asked for');
    this.#stage = 'done';
    this.#setClientSlow(false);
    this.#target.inFlight -= 1;
    return openTunnel(call, call.clientSide.upgrade, upstream, this.#app, this.#target, this.#deps, block, end);
  }

  // ---- Ends

  #broken(what: string): boolean {
    this.#fail(new AppError('upstream_protocol', `The app answered with something that is not valid HTTP: ${what}.`));
    return true;
  }

  #fail(error: AppError): void {
    const stage = this.#stage;
    if (stage === 'done') return;
    this.#leave();
    this.#upstream?.destroy();
    if (stage === 'answering') this.#call.breakOff();
    else this.#call.refuse(error);
  }

  /** Its client has taken nothing for long, and others wait. */
  giveUp(error: AppError): void {
    this.#fail(error);
  }

  #setClientSlow(slow: boolean): void {
    if (slow === this.#clientSlow) return;
    this.#clientSlow = slow;
    this.#target.stalled.note(this, slow, this.#deps.clock.nowMs());
  }

  #endDial(): void {
    this.#target.dialEnded(this.#dial);
    this.#dial = 0;
  }

  #leave(): void {
    if (this.#dial !== 0) this.#endDial();
    this.#stage = 'done';
    this.#setClientSlow(false);
    this.#uploaded();
    this.#target.inFlight -= 1;
    this.#deps.onLeft(this.#app, this.#target);
  }
}

/** Safe in the sense of RFC 9110 §9.2.1, and nothing to send twice. */
function repeatable({ head }: Call): boolean {
  return (head.method === 'GET' || head.method === 'HEAD') && !head.chunked && head.contentLength === 0;
}
