/** One end of a link: calls, notifications and streams both ways over a WebSocket that is already open. */
import type { WebSocket } from 'ws';
import type { Log } from '../log.ts';
import type { MethodTable } from '../protocol/methods.ts';
import type { Clock } from './clock.ts';
import type { RpcLimits } from './limits.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from './types.ts';

export interface PeerOptions<Local extends MethodTable, Remote extends MethodTable> {
  /** Open, and nothing read from it yet. */
  readonly socket: WebSocket;
  /** Methods served here: their scopes and parameter schemas are checked before a handler runs. */
  readonly local: Local;
  readonly handlers: Handlers<Local, Remote>;
  /** Methods served by the other side: their results and items are checked before the caller sees them. */
  readonly remote: Remote;
  readonly notifications?: NotificationHandlers<Remote>;
  /** Who the other side is. */
  readonly identity: Identity;
  readonly limits?: Partial<RpcLimits>;
  readonly log: Log;
  readonly clock?: Clock;
}

export function createPeer<Local extends MethodTable, Remote extends MethodTable>(
  options: PeerOptions<Local, Remote>,
): Peer<Remote> {
  throw new Error(`being built: ${options.identity.name}`);
}
