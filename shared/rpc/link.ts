/** A link that is kept up: dials, and dials again with backoff whenever it is lost. */
import type { Log } from '../log.ts';
import type { MethodTable } from '../protocol/methods.ts';
import type { AppError } from '../errors.ts';
import type { Clock } from './clock.ts';
import type { RpcLimits } from './limits.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from './types.ts';

export interface LinkOptions<Local extends MethodTable, Remote extends MethodTable> {
  /** `http(s)://host:port`; the WebSocket is at `/rpc` of it. */
  readonly url: string;
  readonly token: string;
  readonly local: Local;
  readonly handlers: Handlers<Local, Remote>;
  readonly remote: Remote;
  readonly notifications?: NotificationHandlers<Remote>;
  /** What the other side may call here; by default everything, since this side chose whom it dials. */
  readonly identity?: Identity;
  readonly limits?: Partial<RpcLimits>;
  readonly log: Log;
  readonly clock?: Clock;
  /** Runs for each new link, before `whenUp` resolves. */
  readonly onUp?: (peer: Peer<Remote>) => void;
  /** Runs once for each link that was up and is lost, not for failed attempts; not after `close()` of this side. */
  readonly onDown?: (reason: AppError) => void;
  readonly handshakeTimeoutMs?: number;
}

export interface Link<Remote extends MethodTable> {
  /** The peer while the link is up. */
  readonly peer: Peer<Remote> | undefined;
  /** Resolves as soon as the link is up. @throws AppError `cancelled` when the signal aborts, `link_lost` after close. */
  whenUp(signal: AbortSignal): Promise<Peer<Remote>>;
  close(): Promise<void>;
}

export function createLink<Local extends MethodTable, Remote extends MethodTable>(
  options: LinkOptions<Local, Remote>,
): Link<Remote> {
  throw new Error(`being built: ${options.url}`);
}
