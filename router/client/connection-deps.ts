/** What a client's connection needs of the router. */
import type { BlockList, Socket } from 'node:net';
import type { Backlogs } from '../io/backlog.ts';
import type { CallRouting } from '../call/call.ts';
import type { Client } from '../message/peer-identity.ts';
import type { Connection } from './h1-connection.ts';
import type { Spare } from './connections.ts';
import type { Deadlines } from '../io/deadlines.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { RequestParser } from '../message/request-parser.ts';
import type { Ids } from '../message/ids.ts';
import type { ReadAhead } from '../io/read-ahead.ts';

export interface ConnectionLimits {
  readonly maxHeaderBytes: number;
  readonly maxFields: number;
  readonly maxTrailerBytes: number;
  readonly headTimeoutMs: number;
  readonly keepAliveMs: number;
  /** For the whole body once it is read; 0 is no limit. */
  readonly bodyTimeoutMs: number;
  /** Between two parts of a body. */
  readonly bodyStallMs: number;
  /** In which the client takes nothing of what waits for it. */
  readonly answerStallMs: number;
}

/** A connection of a client, whatever it speaks. */
export interface ClientConnection extends Spare {
  readonly socket: Socket;
  readonly isHttp2: boolean;
  /** Bytes that wait for the client. */
  readonly bufferedBytes: number;
  /** No further request: an idle one is closed now, another one after its answers. */
  finish(): void;
}

/** What all connections share. */
export interface ConnectionDeps {
  readonly routing: CallRouting;
  readonly limits: ConnectionLimits;
  readonly deadlines: Deadlines;
  readonly readAhead: ReadAhead;
  readonly backlogs: Backlogs;
  /** Holds the head that was looked at last. */
  readonly parser: RequestParser;
  readonly writer: HeadWriter;
  readonly ids: Ids;
  readonly trusted: BlockList;
  /** What says that a connection stays open, and for how long. */
  readonly keepAliveFields: string;
  /** No answer may be followed by another request. */
  readonly closing: () => boolean;
  /** A request was refused before it was a call. */
  readonly onRefused: (client: Client, status: number) => void;
  readonly onClosed: (connection: ClientConnection) => void;
  /**
   * Goes on with a connection that turns out to speak HTTP/2.
   * @param received what has come that is no request.
   * @returns whether it does.
   */
  readonly takeHttp2: (connection: Connection, received: Buffer) => boolean;
}
