/**
 * One attempt to have a call answered by a target that speaks HTTP/2: a stream, both ways at once, each side no faster than the
 * other takes.
 *
 * A call is sent again where the app has said that it did not look at it (REFUSED_STREAM, or above the last stream of its
 * GOAWAY), as far as its body is still there; where nothing was sent; and once for GET and HEAD without body when a connection
 * was closed before the answer began. As by HTTP/1.1 a body is never sent twice to one who may have read it.
 */
import { constants, type ClientHttp2Stream } from 'node:http2';
import { AppError } from '../../shared/errors.ts';
import type { App } from '../table/apps.ts';
import type { Attempt, Call } from '../call/call.ts';
import type { BodyEnd, RequestSink } from '../call/client-side.ts';
import { Backlog, leastPartBytes } from '../io/backlog.ts';
import { heldBytes, ownCopy, tellFrom, tellsWhenTaken } from '../io/direct-io.ts';
import type { Timed } from '../io/deadlines.ts';
import type { ExchangeDeps } from './exchange-deps.ts';
import { stripPrefix } from '../message/path.ts';
import type { RequestParser } from '../message/request-parser.ts';
import { parsedAgain, writeRequestHead } from '../message/request-head.ts';
import type { Target } from './targets.ts';
import type { Trailers } from '../message/field-parser.ts';
import { cutFields, isFault, responseBytes, trailerFields, trailersOf, type RawFields } from '../message/h2-heads.ts';
import { PausedReads } from '../io/paused-reads.ts';
import type { SessionFailure, SessionUser, UpstreamSession } from './h2-session.ts';

/** One call after another that the app does not look at. */
const maxRefusals = 3;

/** `waiting`: nothing sent · `sent`: no answer · `answering`: its head was passed on · `done`: nothing to do with the call. */
type Stage = 'waiting' | 'sent' | 'answering' | 'done';

export class StreamExchange implements Attempt, RequestSink, SessionUser, Timed {
  readonly #call: Call;
  readonly #app: App;
  readonly #target: Target;
  readonly #deps: ExchangeDeps;
  readonly #session: UpstreamSession;
  #stream: ClientHttp2Stream | undefined;
  #stage: Stage = 'waiting';
  /** Of a connection that is being made; 0: none. */
  #dial = 0;
  #reused = false;
  #requestDone = false;
  #requestTrailers: Trailers | undefined;
  /** The body until now, for another attempt; undefined: too much of it. */
  #kept: Buffer[] | undefined = [];
  #keptBytes = 0;
  #took = false;
  /** What waits for the app, and of the app for the client. */
  #sending: Backlog | undefined;
  #coming: Backlog | undefined;
  #paused: PausedReads | undefined;
  #trailers: Trailers | undefined;
  /** Of the answer; -1: not said. */
  #left = -1;
  #clientSlow = false;
  #deadlineMs = Infinity;

  private constructor(call: Call, app: App, target: Target, deps: ExchangeDeps) {
    this.#call = call;
    this.#app = app;
    this.#target = target;
    this.#deps = deps;
    this.#session = target.sessions.take(this);
  }

  static send(call: Call, app: App, target: Target, deps: ExchangeDeps): void {
    const exchange = new StreamExchange(call, app, target, deps);
    call.attempt = exchange;
    target.inFlight += 1;
    deps.deadlines.add(exchange);
    if (!exchange.#session.isOpen) {
      exchange.#dial = target.dialBegun();
      return;
    }
    exchange.#reused = true;
    // What has come in this turn, GOAWAY or the end, is seen before what must not be lost is written.
    if (repeatable(call) || exchange.#session.inUse > 1) exchange.#start(undefined);
    else deps.lateStarts.add(exchange, call.head);
  }

  // ---- The call's side

  abort(): void {
    if (this.#stage === 'done') return;
    this.#leave();
    this.#stream?.close(constants.NGHTTP2_CANCEL);
  }

  requestBody(bytes: Buffer, start: number, end: number, last: BodyEnd | undefined): boolean {
    const stream = this.#stream;
    if (this.#stage === 'done' || stream === undefined || stream.closed || stream.destroyed) return false;
    const count = end - start;
    this.#took = true;
    this.#app.bytes += count;
    this.#call.bytesReceived += count;
    if (count > 0) {
      // Copied: they are read over.
      const part = ownCopy(bytes.subarray(start, end));
      this.#keep(part);
      stream.write(part);
    }
    if (last !== undefined) {
      this.#requestDone = true;
      this.#requestTrailers = last === 'no trailers' ? undefined : last;
      stream.end();
      this.#awaitAnswer();
    }
    return this.#sending?.note(heldBytes(stream)) !== true || !tellsWhenTaken(stream);
  }

  /** Counts as read ahead: it waits for whether the app looks at it. */
  #keep(part: Buffer): void {
    if (this.#kept === undefined) return;
    const { limits, readAhead } = this.#deps;
    if (this.#keptBytes + part.length > limits.streamBytes || !readAhead.ample) {
      this.#dropKept();
      return;
    }
    this.#kept.push(part);
    this.#keptBytes += part.length;
    readAhead.take(part.length);
  }

  #dropKept(): void {
    this.#deps.readAhead.take(-this.#keptBytes);
    this.#keptBytes = 0;
    this.#kept = undefined;
  }

  requestFault(error: AppError): void {
    this.#fail(error);
  }

  clientDrained(): void {
    if (!this.#clientSlow) return;
    this.#setClientSlow(false);
    this.#stream?.resume();
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return;
    this.#fail(new AppError('upstream_timeout', 'The app did not begin its answer in time.'));
  }

  // ---- The connection

  sessionOpen(): void {
    this.#endDial();
    this.#target.connected();
    this.#deps.onConnected(this.#app, this.#target);
    if (this.#stage === 'waiting') this.#start(undefined);
  }

  sessionFailed(failure: SessionFailure, cause: Error | undefined): void {
    if (this.#stage !== 'waiting') return;
    const call = this.#call;
    this.#leave();
    if (failure === 'protocol') {
      call.refuse(new AppError('upstream_protocol', 'The app does not speak HTTP/2 without TLS.', { cause }));
      return;
    }
    this.#deps.onDialFailed(this.#app, this.#target, failure === 'timeout');
    call.again();
  }

  // ---- The request

  start(parsed: RequestParser | undefined): void {
    if (this.#stage === 'waiting') this.#start(parsed);
  }

  #start(kept: RequestParser | undefined): void {
    const { head, clientSide } = this.#call;
    const open = head.chunked || head.contentLength > 0;
    this.#stage = 'sent';
    const stream = this.#request(open, kept);
    if (stream === undefined) return;
    this.#stream = stream;
    const { backlogs } = this.#deps;
    tellFrom(stream, leastPartBytes);
    this.#sending = new Backlog(backlogs, stream);
    const coming = new Backlog(backlogs, stream);
    const paused = new PausedReads(stream, () => coming.note(paused.bytes));
    this.#coming = coming;
    this.#paused = paused;
    stream.on('response', (_fields, flags, raw) => this.#response(raw, flags));
    stream.on('headers', (_fields, _flags, raw) => this.#interim(raw));
    stream.on('trailers', (_fields, _flags, raw) => this.#trailersCame(raw));
    stream.on('end', () => this.#ended());
    stream.on('drain', () => {
      this.#sending?.note(heldBytes(stream));
      if (!this.#requestDone) clientSide.resumeBody();
    });
    // 'close' follows and is what counts.
    stream.on('error', () => undefined);
    stream.on('close', () => this.#closed());
    if (!open) {
      this.#requestDone = true;
      clientSide.readBody(this);
      this.#awaitAnswer();
      return;
    }
    stream.once('wantTrailers', () => {
      this.#sendTrailers(stream);
    });
    if (this.#call.expectsContinue) {
      this.#call.expectsContinue = false;
      clientSide.answer.continue();
    }
    clientSide.readBody(this);
  }

  /** Node checks fields by rules of its own. */
  #request(open: boolean, kept: RequestParser | undefined): ClientHttp2Stream | undefined {
    const options = { endStream: !open, waitForTrailers: open && this.#call.head.chunked };
    try {
      return this.#session.request(this.#fields(kept), options);
    } catch (error) {
      const message = 'The request is refused: HTTP/2 has no form of it.';
      this.#fail(new AppError('request_invalid', message, { cause: error as Error }));
      return undefined;
    }
  }

  #fields(kept: RequestParser | undefined): string[] {
    const { head, clientSide } = this.#call;
    const { writer, requestParser } = this.#deps;
    const { path, prefix } = stripPrefix(head.path, this.#app.route);
    const parsed = kept ?? parsedAgain(requestParser, head);
    this.#app.bytes += parsed.end - head.start;
    writeRequestHead(writer, head, parsed, clientSide.client, { path, prefix: head.outerPrefix + prefix });
    const authority = head.host === '' ? `${this.#target.host}:${this.#target.port}` : head.host;
    const fields = [':method', head.method, ':scheme', 'http', ':authority', authority];
    fields.push(':path', head.asterisk ? '*' : path);
    cutFields(writer.take(), fields, true);
    return fields;
  }

  #sendTrailers(stream: ClientHttp2Stream): void {
    if (stream.closed || stream.destroyed) return;
    try {
      stream.sendTrailers(trailerFields(this.#requestTrailers));
    } catch {
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  #awaitAnswer(): void {
    if (this.#stage === 'sent') this.#deadlineMs = this.#deps.clock.nowMs() + this.#deps.limits.headersTimeoutMs;
  }

  // ---- The answer

  /** @returns the head, which is in the parser too; undefined where it is none. */
  #parse(raw: RawFields): Buffer | undefined {
    const { parser, limits } = this.#deps;
    const block = responseBytes(raw);
    if (!Buffer.isBuffer(block)) {
      this.#broken(block);
      return undefined;
    }
    parser.begin(0);
    if (block.length > limits.maxHeaderBytes) this.#broken('a head over the limit');
    else if (parser.parse(block, block.length) === 'done' && parser.end === block.length) return block;
    else this.#broken(parser.fault ?? 'its head');
    return undefined;
  }

  #interim(raw: RawFields): void {
    if (this.#stage !== 'sent') return;
    const { parser } = this.#deps;
    const block = this.#parse(raw);
    // RFC 9110 §15.2: never to HTTP/1.0; and the router has answered with 100 itself.
    if (block === undefined || parser.status === 100 || this.#call.head.minor === 0) return;
    this.#call.clientSide.answer.interim(block, parser);
  }

  #response(raw: RawFields, flags: number): void {
    const stream = this.#stream;
    if (this.#stage !== 'sent' || stream === undefined) return;
    const block = this.#parse(raw);
    if (block === undefined) return;
    const call = this.#call;
    const { parser, date } = this.#deps;
    const { status, framing } = parser;
    if (status < 200) {
      this.#broken('an interim answer as its last one');
      return;
    }
    const bodiless = call.head.method === 'HEAD' || status === 204 || status === 304;
    this.#deadlineMs = Infinity;
    this.#dropKept();
    this.#stage = 'answering';
    this.#left = bodiless ? -1 : framing.contentLength;
    call.status = status;
    const { answer } = call.clientSide;
    answer.head(call, block, parser, { hasLength: bodiless || framing.contentLength >= 0, date: date.now() });
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
      this.#end();
      return;
    }
    // As a stream its head may be long before its first byte.
    answer.flush();
    stream.on('data', (chunk: Buffer) => this.#data(chunk));
  }

  #data(chunk: Buffer): void {
    if (this.#paused !== undefined) this.#coming?.note(this.#paused.bytes);
    if (this.#stage !== 'answering') return;
    const { answer } = this.#call.clientSide;
    const { length } = chunk;
    this.#app.bytes += length;
    this.#call.bytesSent += length;
    if (this.#left >= 0) this.#left -= length;
    answer.part(chunk, 0, length, true);
    if (answer.flush()) return;
    this.#setClientSlow(true);
    this.#stream?.pause();
  }

  #trailersCame(raw: RawFields): void {
    if (this.#stage !== 'answering') return;
    const trailers = trailersOf(raw, this.#deps.limits);
    if (isFault(trailers)) this.#broken(trailers.what);
    else this.#trailers = trailers;
  }

  #ended(): void {
    // A reset ends it too.
    if (this.#stage === 'answering' && this.#stream?.rstCode === constants.NGHTTP2_NO_ERROR) this.#end();
  }

  #end(): void {
    const call = this.#call;
    if (this.#left > 0) {
      this.#broken('a body shorter than its length');
      return;
    }
    const { answer } = call.clientSide;
    answer.end(this.#trailers);
    answer.flush();
    call.attempt = undefined;
    this.#leave();
    if (!this.#requestDone) this.#stream?.close(constants.NGHTTP2_CANCEL);
    call.clientSide.answered();
  }

  // ---- Ends

  #closed(): void {
    const stage = this.#stage;
    const stream = this.#stream;
    if (stage === 'done' || stream === undefined) return;
    const call = this.#call;
    if (stage === 'answering') {
      this.#leave();
      call.breakOff();
      return;
    }
    const refused = stream.rstCode === constants.NGHTTP2_REFUSED_STREAM || this.#session.leftOut(stream);
    if (refused && ++call.staleSockets < maxRefusals && this.#takeBack()) {
      this.#leave();
      call.again();
      return;
    }
    this.#leave();
    if (!refused && this.#reused && repeatable(call) && !call.needsFresh) {
      call.needsFresh = true;
      call.again();
      return;
    }
    const broken = stream.rstCode === constants.NGHTTP2_PROTOCOL_ERROR || this.#session.isBroken;
    call.refuse(
      broken
        ? new AppError('upstream_protocol', 'The app answered with something that is not valid HTTP/2.')
        : new AppError('upstream_reset', 'The app closed the stream before it answered.'),
    );
  }

  /** @returns whether the next attempt can have all of the request. */
  #takeBack(): boolean {
    if (!this.#took) return true;
    return this.#kept !== undefined && this.#call.clientSide.putBack?.(this.#kept) === true;
  }

  #broken(what: string): void {
    this.#fail(new AppError('upstream_protocol', `The app answered with something that is not valid HTTP: ${what}.`));
  }

  #fail(error: AppError): void {
    const stage = this.#stage;
    if (stage === 'done') return;
    this.#leave();
    this.#stream?.close(constants.NGHTTP2_CANCEL);
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
    if (this.#dial === 0) return;
    this.#target.dialEnded(this.#dial);
    this.#dial = 0;
  }

  #leave(): void {
    this.#endDial();
    this.#stage = 'done';
    this.#setClientSlow(false);
    this.#dropKept();
    this.#sending?.close();
    this.#coming?.close();
    this.#sending = undefined;
    this.#paused = undefined;
    this.#deps.deadlines.delete(this);
    this.#session.release(this);
    this.#target.inFlight -= 1;
    this.#deps.onLeft(this.#app, this.#target);
  }
}

/** Safe in the sense of RFC 9110 §9.2.1, and nothing to send twice. */
function repeatable({ head }: Call): boolean {
  return (head.method === 'GET' || head.method === 'HEAD') && !head.chunked && head.contentLength === 0;
}
