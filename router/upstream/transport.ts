/**
 * The seam between the policy of an attempt and the protocol that it is made by. A transport sends one request to a target and
 * reports what comes back; it decides nothing about the call. There are two: h1-transport.ts and h2-transport.ts.
 */
import { AppError } from '../../shared/errors.ts';
import type { RequestSource } from '../call/client-side.ts';
import type { Deadlines } from '../io/deadlines.ts';
import type { ReadAhead } from '../io/read-ahead.ts';
import type { Trailers } from '../message/field-parser.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { RequestHead } from '../message/request-head.ts';
import type { Destination } from '../message/request-writer.ts';
import type { ResponseParser } from '../message/response-parser.ts';
import type { UpstreamConnection, UpstreamConnectionDeps } from './connection.ts';

export interface Transport {
  /** How it got its connection: a new one · an idle one, which may close at any time · one that other calls use now. */
  readonly origin: 'dialled' | 'idle' | 'shared';
  /** Whether its call has the connection for itself. */
  readonly isExclusive: boolean;
  /** Whether anything of the answer has come. */
  readonly heard: boolean;
  /**
   * Composes the head; `flush` sends it.
   * @returns false where the request could not be sent, which is reported as a failure now or in a moment.
   */
  sendHead(head: RequestHead, destination: Destination): boolean;
  /** @param bytes may be overwritten when this returns. */
  sendBody(bytes: Buffer, start: number, end: number): void;
  endBody(trailers: Trailers | undefined): void;
  /** Sends what is composed. @returns whether the target keeps up; otherwise `drained` follows. */
  flush(): boolean;
  /** Reports `upstream_timeout` unless the answer head comes before this time, in ms of the clock. */
  awaitAnswer(deadlineMs: number): void;
  /** Reads on after the client was too slow. */
  resume(): void;
  /**
   * Gives what was sent of the body back to its source, for another attempt.
   * @returns false where not all of it can be had.
   */
  recallBody(source: RequestSource): boolean;
  /** Ends the exchange, if it has not ended yet, and gives up what it holds. Nothing is reported after that. */
  abort(): void;
}

/** Why there is no answer, or no more of it. */
export type Failure =
  /** The connection or the stream is closed. */
  | 'closed'
  /** The target has said that it did not process the request. */
  | 'unprocessed'
  /** Another attempt would end in the same way, or could do a thing twice. */
  | 'fatal';

/** What a transport reports to. */
export interface TransportUser {
  connected(): void;
  /** No connection was made: it was refused, or `timedOut`. */
  dialFailed(timedOut: boolean): void;
  /** The target takes more of the body. */
  drained(): void;
  /**
   * @param parser has parsed an interim head in `block`.
   * @returns whether the client keeps up.
   */
  interim(block: Buffer, parser: ResponseParser): boolean;
  /**
   * Composes the head for the client.
   * @param parser has parsed the final head in `block`.
   * @returns bytes of body that follow; -1 where that is not known.
   */
  answerHead(block: Buffer, parser: ResponseParser): number;
  /** Like `AnswerSink.part`. */
  answerPart(bytes: Buffer, start: number, end: number, owned: boolean): boolean;
  answerEnd(trailers: Trailers | undefined): void;
  /** Sends to the client what is composed. @returns whether it keeps up; otherwise `Transport.resume` follows. */
  flush(): boolean;
  /** Bytes that the client has not taken yet. */
  readonly waitingBytes: number;
  /** The whole answer was passed on, and the transport is done with the call. */
  answered(): void;
  /**
   * The target switches protocols, which HTTP/1.1 alone has; from now on the connection is the tunnel's.
   * @param parser has parsed the head of the 101 in `block`.
   * @returns whether the client keeps up.
   */
  upgraded(connection: UpstreamConnection, block: Buffer, parser: ResponseParser): boolean;
  failed(failure: Failure, error: AppError): void;
}

/** What the connections to all targets share. */
export interface TransportDeps extends UpstreamConnectionDeps {
  readonly deadlines: Deadlines;
  readonly readAhead: ReadAhead;
  readonly writer: HeadWriter;
  /** Holds the response head parsed last. */
  readonly responseParser: ResponseParser;
  /** Time for the first SETTINGS of an app that speaks HTTP/2. */
  readonly settingsTimeoutMs: number;
  /** Idle HTTP/1.1 connections kept for one target. */
  readonly maxIdle: number;
  /** Bytes of a request body that wait in one HTTP/2 stream, and that are kept for another attempt. */
  readonly streamBytes: number;
  readonly maxHeaderBytes: number;
  readonly maxFields: number;
  readonly maxTrailerBytes: number;
}

/** @param what as in 'invalid HTTP: a line break in a field'. */
export function invalidAnswer(what: string): AppError {
  return new AppError('upstream_protocol', `The app answered with something that is not valid HTTP: ${what}.`);
}

export function lateAnswer(): AppError {
  return new AppError('upstream_timeout', 'The app did not begin its answer in time.');
}
