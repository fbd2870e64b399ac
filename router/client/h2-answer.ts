/** Composes the answer for one stream of HTTP/2; a head and the first parts of its body that come together are sent together. */
import { constants, type ServerHttp2Stream } from 'node:http2';
import { leastPartBytes } from '../io/backlog.ts';
import type { AnsweredCall, AnswerForm, AnswerSink } from '../call/client-side.ts';
import type { Trailers } from '../message/field-parser.ts';
import { ownCopy, setDrainThreshold, writeToStream } from '../io/socket-state.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import { writeResponseHead } from '../message/response-head.ts';
import { cutFields, grouped, trailerFields } from '../message/h2-heads.ts';
import type { ConnectionDeps } from './connection-deps.ts';
import { maxCopiedBytes, PendingOutput } from './pending-output.ts';

export class H2Answer implements AnswerSink {
  readonly pending: PendingOutput;
  readonly #stream: ServerHttp2Stream;
  readonly #writer: HeadWriter;
  /** The head, until it is sent. */
  #fields: string[] | undefined;
  #parts: Buffer[] = [];
  #bodiless = false;
  #mayTrail = false;
  #ended = false;
  #trailers: Trailers | undefined;

  constructor(stream: ServerHttp2Stream, { writer, backlogs }: Pick<ConnectionDeps, 'writer' | 'backlogs'>) {
    this.#stream = stream;
    this.#writer = writer;
    this.pending = new PendingOutput(stream, backlogs);
    setDrainThreshold(stream, leastPartBytes);
  }

  continue(): void {
    if (!this.#gone) this.#give((stream) => stream.additionalHeaders({ ':status': 100 }));
  }

  interim(block: Buffer, parser: ResponseParser): boolean {
    // HTTP/2 has no switch of protocols (RFC 9113 §8.6), and Node throws for one.
    if (this.#gone || parser.status === constants.HTTP_STATUS_SWITCHING_PROTOCOLS) return true;
    const fields = grouped(this.#composed(block, parser, undefined));
    this.#give((stream) => stream.additionalHeaders(fields));
    return true;
  }

  head(call: AnsweredCall, block: Buffer, parser: ResponseParser, form: AnswerForm): void {
    const { status } = parser;
    this.#bodiless = call.head.method === 'HEAD' || status === 204 || status === 205 || status === 304;
    this.#mayTrail = !form.hasLength;
    this.#fields = this.#composed(block, parser, { timing: call.serverTiming(), ...form });
  }

  #composed(
    block: Buffer,
    parser: ResponseParser,
    final: (AnswerForm & { readonly timing: string }) | undefined,
  ): string[] {
    writeResponseHead(this.#writer, block, parser, {
      // Keeps Trailer; `cutFields` drops the transfer coding.
      chunked: final?.hasLength === false,
      connection: '',
      timing: final?.timing ?? '',
      date: final?.date ?? '',
      switching: false,
      mounted: final?.mounted,
    });
    const { status } = parser;
    // RFC 9110 §15: a status over 599 is to be treated as a 5xx, and Node sends none of those.
    const fields = [':status', String(status > 599 ? constants.HTTP_STATUS_BAD_GATEWAY : status)];
    cutFields(this.#writer.take(), fields, false);
    // RFC 9110 §15.3.6: a 205 has no content, so no length either.
    if (status !== constants.HTTP_STATUS_RESET_CONTENT) return fields;
    const at = fields.findIndex((text, index) => index % 2 === 0 && text === 'content-length');
    return at < 0 ? fields : fields.toSpliced(at, 2);
  }

  part(bytes: Buffer, start: number, end: number, owned: boolean): boolean {
    if (this.#bodiless || start === end) return false;
    const lent = owned && end - start > maxCopiedBytes;
    const part = bytes.subarray(start, end);
    this.#parts.push(lent ? part : ownCopy(part));
    return lent;
  }

  end(trailers: Trailers | undefined): void {
    this.#ended = true;
    this.#trailers = trailers;
  }

  flush(): boolean {
    const stream = this.#stream;
    const parts = this.#parts;
    if (parts.length > 0) this.#parts = [];
    if (this.#gone) return true;
    if (this.#fields !== undefined) {
      this.#respond(this.#fields, parts.length === 0);
      if (this.#gone) return true;
    }
    for (const part of parts) writeToStream(stream, undefined, part);
    // The stream has ended itself if the head was all.
    if (this.#ended && !stream.writableEnded) stream.end();
    return !this.pending.update();
  }

  /** Sends a whole answer of the router. */
  whole(fields: string[], body: string): void {
    if (this.#gone || this.#stream.headersSent) return;
    this.#stream.respond(fields, { endStream: body === '' });
    if (body !== '') this.#stream.end(body);
  }

  #respond(fields: string[], empty: boolean): void {
    const stream = this.#stream;
    this.#fields = undefined;
    const endStream = this.#bodiless || (this.#ended && empty && this.#trailers === undefined);
    const waitForTrailers = !endStream && (this.#ended ? this.#trailers !== undefined : this.#mayTrail);
    if (waitForTrailers) {
      stream.once('wantTrailers', () => {
        if (!this.#gone) this.#give(() => stream.sendTrailers(trailerFields(this.#trailers)));
      });
    }
    this.#give(() => stream.respond(fields, { endStream, waitForTrailers }));
  }

  /** Sends fields. Node checks them by rules of its own: what it rejects ends the stream, and nothing else. */
  #give(fields: (stream: ServerHttp2Stream) => void): void {
    try {
      fields(this.#stream);
    } catch {
      this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR);
    }
  }

  get waitingBytes(): number {
    return this.pending.bytes;
  }

  get #gone(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }
}
