/**
 * The HTTP/1.1 transport: one for each connection, which serves one call at a time and waits in its pool between calls. Requests
 * are composed in the writer that all connections share, so that a head and the first part of its body go out in one write.
 */
import { AppError } from '../../shared/errors.ts';
import { resumeReading } from '../io/socket-state.ts';
import { BodyReader } from '../message/body-reader.ts';
import type { Trailers } from '../message/field-parser.ts';
import type { RequestHead } from '../message/request-head.ts';
import { writeRequestHead, type Destination } from '../message/request-writer.ts';
import { keepAliveSeconds, writeLastChunk } from '../message/response-head.ts';
import { UpstreamConnection, type Address, type ConnectionOwner, type ConnectionUser } from './connection.ts';
import { invalidAnswer, lateAnswer, type Transport, type TransportDeps, type TransportUser } from './transport.ts';

/** Where the transport waits between two calls. */
export interface TransportPool extends ConnectionOwner {
  /** @param keepMs how long the app keeps the connection; 0 if no other call may use it. */
  release(transport: H1Transport, keepMs: number): void;
  /** The target has sent bytes that no call asked for. */
  distrust(): void;
}

export class H1Transport implements Transport, ConnectionUser {
  readonly connection: UpstreamConnection;
  readonly isExclusive = true;
  origin: 'dialled' | 'idle' = 'dialled';
  receivedAny = false;
  idleSinceMs = 0;
  readonly #pool: TransportPool;
  readonly #deps: TransportDeps;
  /** The call's attempt; undefined while the connection is idle or on its way out. */
  #user: TransportUser | undefined;
  #reading: 'nothing' | 'head' | 'body' = 'nothing';
  /** The shared writer holds a part of the request. */
  #composing = false;
  #chunked = false;
  #requestDone = false;
  /** The beginning of an incomplete answer head. */
  #partial: Buffer | undefined;
  readonly #body: BodyReader;
  /** How long the app keeps the connection after this answer. */
  #keepMs = 0;

  constructor(address: Address, pool: TransportPool, user: TransportUser, deps: TransportDeps) {
    this.#pool = pool;
    this.#deps = deps;
    this.#user = user;
    this.#body = new BodyReader({
      maxFields: deps.maxFields,
      maxTrailerBytes: deps.maxTrailerBytes,
      chunkBlanks: true,
    });
    this.connection = new UpstreamConnection(address, pool, this, deps);
  }

  /** Serves another call over the idle connection. */
  reuse(user: TransportUser): void {
    this.#user = user;
    this.origin = 'idle';
    this.receivedAny = false;
    this.connection.deadlineMs = Infinity;
  }

  // ---- The request

  sendHead(head: RequestHead, destination: Destination): boolean {
    const { connection } = this;
    // The close is reported in a moment.
    if (connection.destroyed) return false;
    writeRequestHead(this.#deps.writer, head, destination);
    this.#composing = true;
    this.#reading = 'head';
    this.#chunked = head.chunked;
    this.#requestDone = !head.hasBody;
    if (!this.#requestDone) connection.outlivesWrites = true;
    return true;
  }

  sendBody(bytes: Buffer, start: number, end: number): void {
    const { writer } = this.#deps;
    this.#composing = true;
    // An empty chunk would be the last one.
    if (this.#chunked && end > start) writer.chunk(bytes, start, end);
    else writer.range(bytes, start, end);
  }

  endBody(trailers: Trailers | undefined): void {
    if (this.#chunked) writeLastChunk(this.#deps.writer, trailers);
    this.#requestDone = true;
  }

  flush(): boolean {
    this.#composing = false;
    this.#deps.writer.send(this.connection);
    return !this.connection.isBehind();
  }

  awaitAnswer(deadlineMs: number): void {
    if (this.#reading === 'head') this.connection.deadlineMs = deadlineMs;
  }

  resume(): void {
    resumeReading(this.connection);
  }

  /** HTTP/1.1 has no way to say that a request was not processed. */
  recallBody(): boolean {
    return false;
  }

  abort(): void {
    if (this.#composing) this.#deps.writer.discard();
    this.#detach();
    this.connection.destroy();
  }

  // ---- The connection

  upstreamConnected(): void {
    if (this.#user === undefined) this.connection.destroy();
    else this.#user.connected();
  }

  upstreamBytes(bytes: Buffer, count: number): boolean {
    switch (this.#reading) {
      case 'head':
        this.receivedAny = true;
        return this.#readHeads(bytes, count);
      case 'body':
        return this.#readBody(bytes, 0, count);
      case 'nothing':
        this.#spokeOutOfTurn();
        return true;
    }
  }

  upstreamDrained(): void {
    this.#user?.drained();
  }

  upstreamEnded(): void {
    const { connection } = this;
    if (this.#reading !== 'body' || !this.#body.endsWithConnection || !connection.endIsProper) {
      connection.destroy();
      return;
    }
    this.#user?.answerEnd(undefined);
    this.#user?.flush();
    this.#finish(false);
  }

  upstreamTimedOut(): void {
    const user = this.#user;
    if (user === undefined) this.connection.destroy();
    else if (this.connection.isOpen) user.failed('fatal', lateAnswer());
    else user.dialFailed(true);
  }

  upstreamClosed(cause: Error | undefined): void {
    const user = this.#user;
    if (user === undefined) return;
    const message = 'The app closed the connection before it answered.';
    if (this.connection.isOpen) user.failed('closed', new AppError('upstream_reset', message, { cause }));
    else user.dialFailed(false);
  }

  /** Closes the connection: its next bytes could not be attributed to a call. */
  #spokeOutOfTurn(): void {
    this.connection.destroy();
    this.#pool.distrust();
  }

  // ---- The answer

  /** @returns whether to read on at once. */
  #readHeads(bytes: Buffer, count: number): boolean {
    const { responseParser: parser, maxHeaderBytes } = this.#deps;
    let block = bytes;
    let end = count;
    if (this.#partial !== undefined) {
      block = Buffer.concat([this.#partial, bytes.subarray(0, count)]);
      end = block.length;
      this.#partial = undefined;
    }
    let pos = 0;
    let more = true;
    while (pos < end) {
      parser.begin(pos);
      const progress = parser.parse(block, end);
      if (progress === 'bad') return this.#invalid(parser.fault?.what ?? '');
      if (progress === 'more') {
        if (end - pos >= maxHeaderBytes) return this.#invalid('a head over the limit');
        // Copied, because the buffer is read over.
        this.#partial = Buffer.from(block.subarray(pos, end));
        return more;
      }
      if (parser.end - pos > maxHeaderBytes) return this.#invalid('a head over the limit');
      if (parser.status === 101) return this.#upgrade(block, end);
      if (parser.status >= 200) return this.#readFinalHead(block, end);
      more = this.#user?.interim(block, parser) ?? true;
      pos = parser.end;
    }
    return more;
  }

  #readFinalHead(block: Buffer, end: number): boolean {
    const user = this.#user;
    if (user === undefined) return true;
    const { responseParser: parser } = this.#deps;
    const { framing, minor } = parser;
    const bodyEnd = parser.end;
    this.connection.deadlineMs = Infinity;
    this.#reading = 'body';
    const bodyBytes = user.answerHead(block, parser);
    const body = this.#body;
    if (bodyBytes === 0) body.beginNone();
    else if (framing.chunked) body.beginChunked();
    else if (bodyBytes > 0) body.beginLength(bodyBytes);
    else body.beginClose();
    const reusable = minor > 0 && !framing.close && !body.endsWithConnection;
    this.#keepMs = reusable ? keepAliveSeconds(block, parser.fields) * 1_000 - 1_000 : 0;
    return this.#readBody(block, bodyEnd, end);
  }

  /** Passes on what belongs to the body, with the head if that was not sent yet. */
  #readBody(bytes: Buffer, start: number, end: number): boolean {
    const { connection } = this;
    const user = this.#user;
    if (user === undefined) return true;
    const body = this.#body;
    body.read(bytes, start, end);
    if (body.fault !== undefined) {
      // The valid part still reaches the client: the app did send it.
      user.flush();
      user.failed(
        'fatal',
        new AppError('upstream_protocol', `The app answered with a body that is not valid HTTP: ${body.fault.what}.`),
      );
      return true;
    }
    const { dataStart, dataEnd, done, next } = body;
    const owned = bytes === connection.buffer && connection.ownsBuffer;
    const lent = dataEnd > dataStart && user.answerPart(bytes, dataStart, dataEnd, owned);
    if (done) user.answerEnd(body.trailers);
    const more = user.flush();
    if (lent && user.waitingBytes > 0) connection.giveBufferAway();
    if (!done) return more;
    if (next !== end) this.#spokeOutOfTurn();
    this.#finish(next === end);
    return true;
  }

  /** @param clean whether the connection ended its answer as it should, and may serve another call. */
  #finish(clean: boolean): void {
    const user = this.#user;
    const reusable = clean && this.#requestDone;
    this.#detach();
    if (reusable) this.#pool.release(this, this.#keepMs);
    else this.connection.destroy();
    user?.answered();
  }

  #upgrade(block: Buffer, end: number): boolean {
    const user = this.#user;
    const more = user?.upgraded(this.connection, block.subarray(0, end), this.#deps.responseParser) ?? true;
    this.#detach();
    return more;
  }

  #invalid(what: string): true {
    this.#user?.failed('fatal', invalidAnswer(what));
    return true;
  }

  #detach(): void {
    this.#user = undefined;
    this.#reading = 'nothing';
    this.#composing = false;
    this.#partial = undefined;
  }
}
