/** What connections of clients share, and what the router sees of each. */
import type { Socket } from 'node:net';
import type { AppError } from '../../shared/errors.ts';
import type { CallRouting } from '../call/call.ts';
import type { Backlogs } from '../io/backlog.ts';
import type { Deadlines, Timed } from '../io/deadlines.ts';
import type { ClientSockets } from '../io/client-socket.ts';
import type { ReadAhead } from '../io/read-ahead.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { ClientTrust, PeerIdentity } from '../message/peer-identity.ts';
import type { RequestHeads } from '../message/request-head.ts';

export interface ConnectionLimits {
  readonly maxHeaderBytes: number;
  readonly maxFields: number;
  readonly maxTrailerBytes: number;
  readonly headTimeoutMs: number;
  readonly keepAliveMs: number;
  /** Timeout of the whole body, from when it is read; 0 for none. */
  readonly bodyTimeoutMs: number;
  /** Timeout of the next part of a body. */
  readonly bodyStallMs: number;
  /** Least rate of a body on average; 0 for none. */
  readonly bodyBytesPerSec: number;
  /** Timeout of an app that reads nothing of a body. */
  readonly appStallMs: number;
  /** Cut off a client that takes nothing of what waits for it for this long. */
  readonly answerStallMs: number;
}

/** Something that can be closed to make room while it is idle. */
export interface Evictable {
  /** @returns whether it has been idle since then. */
  isEvictable(idleSinceMs: number): boolean;
  /** It stays open for a moment after `evict`: what it was sent last may still be on its way. */
  readonly lingers: boolean;
  evict(): void;
}

export interface ClientConnection extends Evictable, Timed {
  readonly socket: Socket;
  readonly isHttp2: boolean;
  readonly bufferedBytes: number;
  /** Closes the connection at once if it is idle, and else after its answers. */
  drain(): void;
}

export interface ConnectionDeps {
  readonly routing: CallRouting;
  readonly limits: ConnectionLimits;
  readonly deadlines: Deadlines;
  readonly readAhead: ReadAhead;
  readonly backlogs: Backlogs;
  readonly heads: RequestHeads;
  readonly sockets: ClientSockets;
  readonly writer: HeadWriter;
  readonly trust: ClientTrust;
  /** Fields of an answer after which the connection stays open. */
  readonly keepAliveFields: string;
  /** No answer may be followed by another request. */
  readonly closing: () => boolean;
  /** A request was refused before it became a call. */
  readonly onRefused: (client: PeerIdentity, status: number, error?: AppError) => void;
  readonly onClosed: (connection: ClientConnection) => void;
  /**
   * Hands over a connection whose client speaks HTTP/2.
   * @param received all that has come of it, if that is no request of HTTP/1.1.
   * @returns whether the connection was taken.
   */
  readonly takeHttp2: (connection: ClientConnection, received: Buffer) => boolean;
}
