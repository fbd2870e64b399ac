/** The HTTP/2 transport: one for each call, which is a stream on a connection that others may use too. */
import { constants, type ClientHttp2Stream } from 'node:http2';
import { AppError } from '../../shared/errors.ts';
import type { RequestSource } from '../call/client-side.ts';
import { Backlog, leastPartBytes } from '../io/backlog.ts';
import type { Timed } from '../io/deadlines.ts';
import { heldBytes, ownCopy, setDrainThreshold, willDrain } from '../io/socket-state.ts';
import { PausedReads } from '../io/paused-reads.ts';
import type { Trailers } from '../message/field-parser.ts';
import { cutFields, isFault, responseBytes, trailerFields, trailersOf, type RawFields } from '../message/h2-heads.ts';
import type { RequestHead } from '../message/request-head.ts';
import { writeRequestHead, type Destination } from '../message/request-writer.ts';
import type { SessionFailure, SessionUser, UpstreamSession } from './h2-session.ts';
import { KeptBody } from './kept-body.ts';
import { invalidAnswer, lateAnswer, type Transport, type TransportDeps, type TransportUser } from './transport.ts';

export class H2Transport implements Transport, SessionUser, Timed {
  readonly origin: 'dialled' | 'idle' | 'shared';
  readonly isExclusive = false;
  receivedAny = false;
  readonly #session: UpstreamSession;
  readonly #deps: TransportDeps;
  readonly #kept: KeptBody;
  /** The call's attempt; undefined when the stream is over. */
  #user: TransportUser | undefined;
  #stream: ClientHttp2Stream | undefined;
  #deadlineMs = Infinity;
  #sentBody = false;
  #requestDone = false;
  #requestTrailers: Trailers | undefined;
  /** The final head has come. */
  #answering = false;
  /** Bytes of the answer's body that are still to come; negative if unknown. */
  #left = -1;
  #trailers: Trailers | undefined;
  /** Bytes that wait for the app · bytes from the app that wait for the client. */
  #sending: Backlog | undefined;
  #coming: Backlog | undefined;
  #paused: PausedReads | undefined;

  constructor(session: UpstreamSession, user: TransportUser, deps: TransportDeps) {
    this.origin = !session.isOpen ? 'dialled' : session.inUse > 0 ? 'shared' : 'idle';
    this.#session = session;
    this.#user = user;
    this.#deps = deps;
    this.#kept = new KeptBody(deps.readAhead, deps.streamBytes);
    session.take(this);
    deps.deadlines.add(this);
  }

  // ---- The request

  sendHead(head: RequestHead, destination: Destination): boolean {
    const session = this.#session;
    if (!session.isOpen) {
      this.#user?.failed('closed', reset());
      return false;
    }
    const open = head.hasBody;
    this.#requestDone = !open;
    const fields = this.#fields(head, destination);
    try {
      const stream = session.request(fields, { endStream: !open, waitForTrailers: open && head.chunked });
      this.#listen(stream);
      return true;
    } catch (cause) {
      // Node has checks of its own for fields.
      const message = 'The request is refused: it cannot be expressed in HTTP/2, which the app speaks.';
      this.#user?.failed('fatal', new AppError('request_invalid', message, { cause: cause as Error }));
      return false;
    }
  }

  #fields(head: RequestHead, destination: Destination): string[] {
    const { writer } = this.#deps;
    writeRequestHead(writer, head, destination);
    const authority = head.host === '' ? this.#session.authority : head.host;
    const fields = [':method', head.method, ':scheme', 'http', ':authority', authority];
    fields.push(':path', head.asterisk ? '*' : destination.path);
    cutFields(writer.take(), fields, true);
    return fields;
  }

  #listen(stream: ClientHttp2Stream): void {
    const { backlogs } = this.#deps;
    this.#stream = stream;
    setDrainThreshold(stream, leastPartBytes);
    const coming = new Backlog(backlogs, stream);
    const paused = new PausedReads(stream, () => coming.update(paused.bytes));
    this.#sending = new Backlog(backlogs, stream);
    this.#coming = coming;
    this.#paused = paused;
    stream.on('response', (_fields, flags, raw) => this.#response(raw, flags));
    stream.on('headers', (_fields, _flags, raw) => this.#interim(raw));
    stream.on('trailers', (_fields, _flags, raw) => this.#trailersCame(raw));
    stream.on('end', () => this.#ended());
    stream.on('drain', () => {
      this.#sending?.update(heldBytes(stream));
      this.#user?.drained();
    });
    stream.once('wantTrailers', () => this.#sendTrailers(stream));
    // 'close' follows and is what counts.
    stream.on('error', () => undefined);
    stream.on('close', () => this.#closed(stream));
  }

  sendBody(bytes: Buffer, start: number, end: number): void {
    this.#sentBody = true;
    if (end === start) return;
    // Copied, because the bytes are read over.
    const part = ownCopy(bytes.subarray(start, end));
    this.#kept.add(part);
    this.#writable?.write(part);
  }

  endBody(trailers: Trailers | undefined): void {
    this.#requestDone = true;
    this.#requestTrailers = trailers;
    this.#writable?.end();
  }

  flush(): boolean {
    const stream = this.#writable;
    if (stream === undefined) return false;
    return this.#sending?.update(heldBytes(stream)) !== true || !willDrain(stream);
  }

  get #writable(): ClientHttp2Stream | undefined {
    const stream = this.#stream;
    return stream === undefined || stream.closed || stream.destroyed ? undefined : stream;
  }

  #sendTrailers(stream: ClientHttp2Stream): void {
    if (stream.closed || stream.destroyed) return;
    try {
      stream.sendTrailers(trailerFields(this.#requestTrailers));
    } catch {
      stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  recallBody(source: RequestSource): boolean {
    return !this.#sentBody || this.#kept.giveBack(source);
  }

  awaitAnswer(deadlineMs: number): void {
    this.#deadlineMs = deadlineMs;
  }

  checkDeadlines(nowMs: number): void {
    if (nowMs < this.#deadlineMs) return;
    this.#deadlineMs = Infinity;
    this.#user?.failed('fatal', lateAnswer());
  }

  // ---- The connection

  sessionOpen(): void {
    this.#user?.connected();
  }

  sessionFailed(failure: SessionFailure, cause: Error | undefined): void {
    if (failure !== 'protocol') this.#user?.dialFailed(failure === 'timeout');
    else {
      const message = 'The app does not speak HTTP/2 without TLS.';
      this.#user?.failed('fatal', new AppError('upstream_protocol', message, { cause }));
    }
  }

  // ---- The answer

  /** @returns the head in the form of HTTP/1.1, which the response parser has parsed; undefined where it is not valid. */
  #parse(raw: RawFields): Buffer | undefined {
    const { responseParser: parser, maxHeaderBytes } = this.#deps;
    const block = responseBytes(raw);
    if (!Buffer.isBuffer(block)) {
      this.#invalid(block);
      return undefined;
    }
    parser.begin(0);
    if (block.length > maxHeaderBytes) this.#invalid('a head over the limit');
    else if (parser.parse(block, block.length) === 'done' && parser.end === block.length) return block;
    else this.#invalid(parser.fault?.what ?? 'its head');
    return undefined;
  }

  #interim(raw: RawFields): void {
    if (this.#user === undefined || this.#answering) return;
    this.receivedAny = true;
    const block = this.#parse(raw);
    if (block !== undefined) this.#user.interim(block, this.#deps.responseParser);
  }

  #response(raw: RawFields, flags: number): void {
    const user = this.#user;
    const stream = this.#stream;
    if (user === undefined || stream === undefined) return;
    const block = this.#parse(raw);
    if (block === undefined) return;
    const { responseParser: parser } = this.#deps;
    if (parser.status < 200) {
      this.#invalid('an interim answer as its last one');
      return;
    }
    this.#deadlineMs = Infinity;
    this.#kept.drop();
    this.#answering = true;
    this.#left = user.answerHead(block, parser);
    if ((flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0) {
      this.#finish(user);
      return;
    }
    // The first byte of the body may come long after the head.
    user.flush();
    stream.on('data', (chunk: Buffer) => this.#data(chunk));
  }

  #data(chunk: Buffer): void {
    if (this.#paused !== undefined) this.#coming?.update(this.#paused.bytes);
    const user = this.#user;
    if (user === undefined) return;
    this.#left -= chunk.length;
    user.answerPart(chunk, 0, chunk.length, true);
    if (!user.flush()) this.#stream?.pause();
  }

  resume(): void {
    if (this.#answering) this.#stream?.resume();
  }

  #trailersCame(raw: RawFields): void {
    if (this.#user === undefined || !this.#answering) return;
    const trailers = trailersOf(raw, this.#deps);
    if (isFault(trailers)) this.#invalid(trailers.what);
    else this.#trailers = trailers;
  }

  #ended(): void {
    const user = this.#user;
    // A reset ends the stream too.
    if (user === undefined || !this.#answering || this.#stream?.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    this.#finish(user);
  }

  #finish(user: TransportUser): void {
    if (this.#left > 0) {
      this.#invalid('a body shorter than its length');
      return;
    }
    user.answerEnd(this.#trailers);
    user.flush();
    this.#detach();
    if (!this.#requestDone) this.#stream?.close(constants.NGHTTP2_CANCEL);
    user.answered();
  }

  // ---- The end

  abort(): void {
    this.#detach();
    this.#stream?.close(constants.NGHTTP2_CANCEL);
  }

  #closed(stream: ClientHttp2Stream): void {
    if (this.#user === undefined) return;
    const { rstCode } = stream;
    const unprocessed = rstCode === constants.NGHTTP2_REFUSED_STREAM || this.#session.isUnprocessed(stream);
    const broken = rstCode === constants.NGHTTP2_PROTOCOL_ERROR || this.#session.isBroken;
    const invalid = 'The app answered with something that is not valid HTTP/2.';
    const error = broken ? new AppError('upstream_protocol', invalid) : reset();
    this.#user.failed(unprocessed ? 'unprocessed' : 'closed', error);
  }

  #invalid(what: string): void {
    this.#user?.failed('fatal', invalidAnswer(what));
  }

  #detach(): void {
    if (this.#user === undefined) return;
    this.#user = undefined;
    this.#kept.drop();
    this.#sending?.close();
    this.#coming?.close();
    this.#sending = undefined;
    this.#paused = undefined;
    this.#deps.deadlines.delete(this);
    this.#session.release(this);
  }
}

function reset(): AppError {
  return new AppError('upstream_reset', 'The app closed the stream before it answered.');
}
