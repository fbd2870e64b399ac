/**
 * The client's side of a call: one request on a connection of HTTP/1.1, or one stream of HTTP/2. Heads have the form of
 * HTTP/1.1 whatever the client speaks: the one strict parser reads them, and the side translates them for its client.
 */
import type { Duplex } from 'node:stream';
import type { AppError } from '../../shared/errors.ts';
import type { ProblemOptions } from '../../shared/problem.ts';
import type { Trailers } from '../message/field-parser.ts';
import type { Mounted } from '../message/mount.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { ResponseParser } from '../message/response-parser.ts';

export type BodyEnd = Trailers | 'no trailers';

/** Takes the body of a request, and hears of the client. */
export interface RequestSink {
  /**
   * @param bytes may be overwritten when this returns.
   * @param last how the body ends; undefined while more follows.
   * @returns whether more may come at once; otherwise the sink asks for it by `resumeBody`.
   */
  requestBody(bytes: Buffer, start: number, end: number, last: BodyEnd | undefined): boolean;
  /** The answer has begun, so that the body may be one side of a conversation. */
  readonly answering: boolean;
  /** The rest of the body does not come, for this reason. */
  requestFault(error: AppError): void;
  /** The client has taken all that waited for it. */
  clientDrained(): void;
}

export interface RequestSource {
  /** Passes the body to `sink`: what has arrived of it now, the rest as it comes. */
  readBody(sink: RequestSink): void;
  resumeBody(): void;
  /**
   * Takes back what a sink had of a body that no app has looked at, so that the next sink gets it again. Only a stream of
   * HTTP/2 can: bytes of HTTP/1.1 are decoded as they pass.
   * @param parts all that was taken, in order.
   * @returns false when the client has gone.
   */
  putBack?(parts: readonly Buffer[]): boolean;
}

/** What a client's side reads of a call to compose its answer. */
export interface AnsweredCall {
  readonly head: RequestHead;
  /** The client still waits for 100 (Continue). */
  readonly expectsContinue: boolean;
  /** Bytes of body sent to the client. */
  bytesSent: number;
  serverTiming(): string;
}

export interface AnswerForm {
  /** The end of the body is known without a delimiter: by Content-Length, or because there is no body. */
  readonly hasLength: boolean;
  /** Value of Date for an answer without one. */
  readonly date: string;
  /** Where the app is mounted, if it answers below a path that was stripped. */
  readonly mounted?: Mounted | undefined;
}

/** Composes an answer piece by piece; `flush` sends what is composed. */
export interface AnswerSink {
  continue(): void;
  /**
   * Sends an interim answer.
   * @param parser has parsed its head in `block`.
   * @returns whether the client keeps up.
   */
  interim(block: Buffer, parser: ResponseParser): boolean;
  /** @param parser has parsed the final head in `block`. */
  head(call: AnsweredCall, block: Buffer, parser: ResponseParser, form: AnswerForm): void;
  /**
   * @param owned whether the bytes can stay as they are for a while.
   * @returns whether they must, until nothing waits for the client.
   */
  part(bytes: Buffer, start: number, end: number, owned: boolean): boolean;
  end(trailers: Trailers | undefined): void;
  /** @returns whether the client keeps up. */
  flush(): boolean;
  /** Bytes that the client has not taken yet. */
  readonly waitingBytes: number;
}

/** Overrides what a problem says by its error code. */
export type ProblemView = Required<Pick<ProblemOptions, 'status' | 'owner'>>;

export interface ClientSide extends RequestSource {
  readonly answer: AnswerSink;
  /** Turns the connection into a tunnel. HTTP/1.1 alone has it: RFC 9113 §8.6. */
  readonly upgrade?: TunnelHost;

  /** The whole answer was handed to `answer`. */
  answered(): void;
  /** Answers with an error of the router; nothing of another answer may have been sent. */
  answerProblem(call: AnsweredCall, error: AppError, view: ProblemView | undefined): void;
  /** Cuts the client off, so that it sees that its answer or its tunnel is not whole. */
  breakOff(): void;
}

/** Takes the bytes of a client after 101 (Switching Protocols). */
export interface ClientTunnel {
  fromClient(chunk: Buffer): void;
  clientEnded(): void;
  clientDrained(): void;
  clientClosed(errored: boolean): void;
}

/** A client's connection that can become a tunnel. */
export interface TunnelHost {
  readonly socket: Duplex;
  /**
   * Composes the 101 and ends the call; from now on the connection belongs to `tunnel`.
   * @param parser has parsed the head of the 101 in `block`.
   */
  switchTo(tunnel: ClientTunnel, block: Buffer, parser: ResponseParser): void;
  /** Passes on what the client sent before its 101. */
  start(): void;
}
