/** Composes answers for a client of HTTP/1.1 in the writer that all connections share; the socket gets them in one write each. */
import type { Socket } from 'node:net';
import type { AppError } from '../../shared/errors.ts';
import type { AnsweredCall, AnswerForm, AnswerSink, ProblemView } from '../call/client-side.ts';
import { writeProblem, writeRefusal, type Refusal } from '../call/refusal.ts';
import type { Trailers } from '../message/field-parser.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import { writeLastChunk, writeResponseHead } from '../message/response-head.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import { maxCopiedBytes, PendingOutput } from './pending-output.ts';

const interimFraming = { chunked: false, connection: '', timing: '', date: '', switching: false, mounted: undefined };
const switchFraming = { ...interimFraming, switching: true };

export class H1Answer implements AnswerSink {
  readonly pending: PendingOutput;
  /** The connection closes after this answer, as the head of the answer has said or will say. */
  closes = false;
  readonly #socket: Socket;
  readonly #deps: ConnectionDeps;
  #chunked = false;

  constructor(socket: Socket, deps: ConnectionDeps) {
    this.#socket = socket;
    this.#deps = deps;
    this.pending = new PendingOutput(socket, deps.backlogs);
  }

  continue(): void {
    this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
  }

  interim(block: Buffer, parser: ResponseParser): boolean {
    writeResponseHead(this.#deps.writer, block, parser, interimFraming);
    return this.flush();
  }

  /** Composes the head of a 101. */
  switch(block: Buffer, parser: ResponseParser): void {
    writeResponseHead(this.#deps.writer, block, parser, switchFraming);
  }

  head(call: AnsweredCall, block: Buffer, parser: ResponseParser, { hasLength, date, mounted }: AnswerForm): void {
    this.#chunked = !hasLength && call.head.minor > 0;
    if (!hasLength && !this.#chunked) this.closes = true;
    this.#decidePersistence(call);
    writeResponseHead(this.#deps.writer, block, parser, {
      chunked: this.#chunked,
      connection: this.closes ? 'Connection: close\r\n' : this.#deps.keepAliveFields,
      timing: call.serverTiming(),
      date,
      switching: false,
      mounted,
    });
  }

  part(bytes: Buffer, start: number, end: number, owned: boolean): boolean {
    const { writer } = this.#deps;
    if (owned && end - start > maxCopiedBytes) {
      this.#sendPart(bytes.subarray(start, end));
      return true;
    }
    if (this.#chunked) writer.chunk(bytes, start, end);
    else writer.range(bytes, start, end);
    return false;
  }

  /** Sends what is composed, and then a part of the body without copying it. */
  #sendPart(bytes: Buffer): void {
    const { writer } = this.#deps;
    if (this.#chunked) writer.latin1(`${bytes.length.toString(16)}\r\n`);
    writer.sendBefore(this.#socket, bytes);
    if (this.#chunked) writer.latin1('\r\n');
  }

  end(trailers: Trailers | undefined): void {
    if (this.#chunked) writeLastChunk(this.#deps.writer, trailers);
  }

  flush(): boolean {
    this.#deps.writer.send(this.#socket);
    return !this.pending.update();
  }

  /** Sends a whole answer with an error of the router. */
  problem(call: AnsweredCall, error: AppError, view: ProblemView | undefined): void {
    this.#decidePersistence(call);
    const headers = { Connection: this.closes ? 'close' : 'keep-alive' };
    call.bytesSent = writeProblem(this.#deps.writer, call.head, error, { ...view, headers });
    this.flush();
  }

  /** Sends the last answer of the connection, to a request that did not become a call. */
  refusal(refusal: Refusal): void {
    writeRefusal(this.#deps.writer, refusal);
    this.flush();
  }

  get waitingBytes(): number {
    return this.pending.bytes;
  }

  /** Decides once for an answer, before its head is composed, whether the connection stays open: RFC 9112 §9.3. */
  #decidePersistence({ head, expectsContinue }: AnsweredCall): void {
    const { routing } = this.#deps;
    // A client that was not sent its 100 may leave the body out: what comes next on the connection would be in doubt.
    if (!head.keepAlive || head.upgrade !== undefined || expectsContinue || routing.draining()) {
      this.closes = true;
    }
  }
}
