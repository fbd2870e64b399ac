/**
 * The seam between the policy of an attempt and the protocol of its target. A transport sends one request and reports what comes
 * back; it decides nothing about the call. There are two: h1-transport.ts and h2-transport.ts.
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
  /** Where its connection came from: newly dialled · idle until now, so perhaps about to close · shared with other calls. */
  readonly origin: 'dialled' | 'idle' | 'shared';
  /** Whether the call has the connection to itself. */
  readonly isExclusive: boolean;
  /** Whether any byte of an answer was received. */
  readonly receivedAny: boolean;
  /**
   * Composes the head; `flush` sends it.
   * @returns false if the request cannot be sent; a failure is then reported, now or in a moment.
   */
  sendHead(head: RequestHead, destination: Destination): boolean;
  /** @param bytes may be overwritten when this returns. */
  sendBody(bytes: Buffer, start: number, end: number): void;
  endBody(trailers: Trailers | undefined): void;
  /** Sends what is composed. @returns whether the target keeps up; otherwise `drained` follows. */
  flush(): boolean;
  /** Reports `upstream_timeout` unless the answer head comes before this time, in ms of the clock. */
  awaitAnswer(deadlineMs: number): void;
  /** Continues to read the answer. */
  resume(): void;
  /**
   * Returns the part of the body that was sent to its source, for another attempt.
   * @returns false if that is not possible.
   */
  recallBody(source: RequestSource): boolean;
  /** Ends the request, if it has not ended yet, and frees what it holds. Nothing is reported afterwards. */
  abort(): void;
}

/** Why there is no answer, or not all of it. */
export type Failure =
  /** The connection or the stream is closed. */
  | 'closed'
  /** The target has said that it did not process the request. */
  | 'unprocessed'
  /** Another attempt would not help, or could process the call twice. */
  | 'fatal';

export interface TransportUser {
  connected(): void;
  /** The dial failed: it was refused, or `timedOut`. */
  dialFailed(timedOut: boolean): void;
  /** The target has caught up and takes more of the body. */
  drained(): void;
  /**
   * @param parser has parsed an interim head in `block`.
   * @returns whether the client keeps up.
   */
  interim(block: Buffer, parser: ResponseParser): boolean;
  /**
   * Composes the head for the client.
   * @param parser has parsed the final head in `block`.
   * @returns the length of the body in bytes; -1 if unknown.
   */
  answerHead(block: Buffer, parser: ResponseParser): number;
  /** Like `AnswerSink.part`. */
  answerPart(bytes: Buffer, start: number, end: number, owned: boolean): boolean;
  answerEnd(trailers: Trailers | undefined): void;
  /** Sends what is composed to the client. @returns whether it keeps up; otherwise `Transport.resume` follows. */
  flush(): boolean;
  /** Bytes that the client has not taken yet. */
  readonly waitingBytes: number;
  /** The whole answer was passed on, and the transport is free again. */
  answered(): void;
  /**
   * The target switches protocols, which HTTP/1.1 alone has; from now on the connection is the tunnel's.
   * @param parser has parsed the head of the 101 in `block`.
   * @returns whether the client keeps up.
   */
  upgraded(connection: UpstreamConnection, block: Buffer, parser: ResponseParser): boolean;
  failed(failure: Failure, error: AppError): void;
}

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
  /** Window of one HTTP/2 stream, and maximum of a request body kept for another attempt. */
  readonly streamBytes: number;
  readonly maxHeaderBytes: number;
  readonly maxFields: number;
  readonly maxTrailerBytes: number;
}

/** @param what what is wrong, such as 'a line break in a field'. */
export function invalidAnswer(what: string): AppError {
  return new AppError('upstream_protocol', `The app answered with something that is not valid HTTP: ${what}.`);
}

export function lateAnswer(): AppError {
  return new AppError('upstream_timeout', 'The app did not begin its answer in time.');
}
