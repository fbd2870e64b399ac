/**
 * The caller's side of a call: a request on a connection of HTTP/1.1, or a stream of one of HTTP/2. Heads are those of
 * HTTP/1.1, whatever is spoken with the caller: read by the one strict parser, and turned into its own form by the side itself.
 */
import type { Duplex } from 'node:stream';
import type { AppError, ErrorOwner } from '../../shared/errors.ts';
import type { Call } from './call.ts';
import type { Client } from '../message/peer-identity.ts';
import type { FieldParser } from '../message/field-parser.ts';
import type { ResponseParser } from '../message/response-parser.ts';

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

/** What is HTTP no more. */
export interface ClientTunnel {
  fromClient(chunk: Buffer): void;
  clientEnded(): void;
  clientDrained(): void;
  clientClosed(errored: boolean): void;
}

/** What is said of an answer besides its head. */
export interface AnswerForm {
  /** Its length is known, so that nothing else delimits it. */
  readonly ofLength: boolean;
  /** Value of Date where the app has sent none. */
  readonly date: string;
}

/** Where an answer goes: composed piece by piece, and sent by `flush`. */
export interface AnswerSink {
  /** 100 (Continue), sent at once. */
  continue(): void;
  /**
   * Passes an interim answer on, whose head `parser` has parsed in `block`.
   * @returns whether the client takes it as fast as it comes.
   */
  interim(block: Buffer, parser: ResponseParser): boolean;
  /** The head of a 101. */
  switch(block: Buffer, parser: ResponseParser): void;
  /** The final head. */
  head(call: Call, block: Buffer, parser: ResponseParser, form: AnswerForm): void;
  /**
   * @param owned whether the bytes can stay as they are for a while.
   * @returns whether they have to, until nothing waits for the client.
   */
  part(bytes: Buffer, start: number, end: number, owned: boolean): boolean;
  /** The body is over. */
  end(trailers: Trailers | undefined): void;
  /** Sends what is composed. @returns whether the client takes it as fast as it comes. */
  flush(): boolean;
  /** That the client has still to take. */
  readonly waitingBytes: number;
}

export interface Caller {
  readonly client: Client;
  readonly answer: AnswerSink;

  /** The call is sent: what there is of a body goes to `exchange`. */
  readBody(exchange: Exchanging): void;
  /** The exchange takes more of the body. */
  resumeBody(): void;
  /**
   * Nobody has looked at what was sent of the body: the next exchange is to have it again.
   * @param parts all that was taken of it.
   * @returns false where that cannot be.
   */
  putBack(parts: readonly Buffer[]): boolean;

  /** The whole answer was handed over. */
  answered(): void;
  /** Instead of an answer of the app. */
  answerProblem(
    call: Call,
    error: AppError,
    as: { readonly status: number; readonly owner: ErrorOwner } | undefined,
  ): void;
  /** Ends it so that the client sees that the answer, or what has come by a tunnel, is not whole. */
  breakOff(): void;

  /** From here on the bytes both ways are not ours to understand. */
  becomeTunnel(tunnel: ClientTunnel): void;
  /** What the client sent before its upgrade was answered. */
  startTunnel(): void;
  /** The bytes of a tunnel. */
  readonly socket: Duplex;
}
