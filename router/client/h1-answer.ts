/** The answer on its way to a client of HTTP/1.1: composed in the writer that all share, given to the socket in one write. */
import type { Socket } from 'node:net';
import { Backlog, type Backlogs } from '../io/backlog.ts';
import type { AnsweredCall, AnswerForm, AnswerSink } from '../call/client-side.ts';
import type { Trailers } from '../message/field-parser.ts';
import { heldBytes, tellsWhenTaken, unsentBytes } from '../io/direct-io.ts';
import { writeBodyPart } from '../message/body-writer.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import { writeLastChunk, writeResponseHead } from '../message/response-head.ts';

const interimFraming = { chunked: false, connection: '', timing: '', date: '', switching: false };
const switchFraming = { ...interimFraming, switching: true };

/** Says how the connection goes on after an answer, as fields. */
export type ConnectionFields = (call: AnsweredCall, endsWithConnection: boolean) => string;

export class ClientAnswer implements AnswerSink {
  readonly #socket: Socket;
  readonly #writer: HeadWriter;
  readonly #backlog: Backlog;
  readonly #connection: { connectionFields: ConnectionFields };
  #chunked = false;
  /** What waited when last looked at, and since when it is the same. */
  #stalledBytes = 0;
  #stalledSinceMs = 0;

  constructor(
    socket: Socket,
    writer: HeadWriter,
    backlogs: Backlogs,
    connection: { connectionFields: ConnectionFields },
  ) {
    this.#socket = socket;
    this.#writer = writer;
    this.#backlog = new Backlog(backlogs, socket);
    this.#connection = connection;
  }

  continue(): void {
    this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
  }

  interim(block: Buffer, parser: ResponseParser): boolean {
    writeResponseHead(this.#writer, block, parser, interimFraming);
    return this.flush();
  }

  switch(block: Buffer, parser: ResponseParser): void {
    writeResponseHead(this.#writer, block, parser, switchFraming);
  }

  head(call: AnsweredCall, block: Buffer, parser: ResponseParser, { hasLength, date }: AnswerForm): void {
    this.#chunked = !hasLength && call.head.minor > 0;
    writeResponseHead(this.#writer, block, parser, {
      chunked: this.#chunked,
      connection: this.#connection.connectionFields(call, !hasLength && !this.#chunked),
      timing: call.serverTiming(),
      date,
      switching: false,
    });
  }

  part(bytes: Buffer, start: number, end: number, owned: boolean): boolean {
    if (owned) return writeBodyPart(this.#writer, this.#socket, bytes, start, end, this.#chunked);
    if (this.#chunked) this.#writer.chunk(bytes, start, end);
    else this.#writer.range(bytes, start, end);
    return false;
  }

  end(trailers: Trailers | undefined): void {
    if (this.#chunked) writeLastChunk(this.#writer, trailers);
  }

  flush(): boolean {
    this.#writer.send(this.#socket);
    return !this.isBehind;
  }

  get waitingBytes(): number {
    return unsentBytes(this.#socket);
  }

  /** Whether the client has so much to take that its next request has to wait: its answer would come on top of that. */
  get isBehind(): boolean {
    return this.#backlog.note(heldBytes(this.#socket)) && tellsWhenTaken(this.#socket);
  }

  /** The socket has sent what waited. */
  drained(): void {
    this.#backlog.note(heldBytes(this.#socket));
  }

  /** The socket is closed. */
  close(): void {
    this.#backlog.close();
  }

  /** @returns for how long the client has taken nothing; 0 where nothing waits. */
  stalledMs(nowMs: number): number {
    const unsent = unsentBytes(this.#socket);
    if (unsent !== this.#stalledBytes) {
      this.#stalledBytes = unsent;
      this.#stalledSinceMs = nowMs;
    }
    return unsent === 0 ? 0 : nowMs - this.#stalledSinceMs;
  }
}
