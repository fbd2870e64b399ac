/** The agent's RPC endpoint: WebSocket links and single calls by HTTP POST, on one port. */
import type { Log } from '../../shared/log.ts';
import type { MethodTable, Scope } from '../../shared/protocol/methods.ts';
import type { RpcLimits } from '../../shared/rpc/limits.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from '../../shared/rpc/types.ts';
import type { ErrorCode } from '../../shared/errors.ts';

export interface RpcToken {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly value: string;
}

export interface RpcServerOptions<Local extends MethodTable, Remote extends MethodTable> {
  readonly tokens: readonly RpcToken[];
  readonly local: Local;
  readonly remote: Remote;
  readonly handlers: Handlers<Local, Remote>;
  readonly notifications?: NotificationHandlers<Remote>;
  readonly limits?: Partial<RpcLimits & ServerLimits>;
  /** False: every link and call is refused with not_leader. */
  readonly isLeader: () => boolean;
  readonly log: Log;
  /** Runs for each new link. */
  readonly onPeer?: (peer: Peer<Remote>, identity: Identity) => void;
}

export interface ServerLimits {
  /** Sockets of all kinds. */
  readonly maxConnections: number;
  /** Links and POST calls in flight of one token. */
  readonly maxConnectionsPerToken: number;
  /** From the connection to the end of the request headers. */
  readonly headersTimeoutMs: number;
  /** From the connection to the end of the request body. */
  readonly requestTimeoutMs: number;
}

export interface RpcServer {
  /** @returns the port, which is chosen by the system when 0 is asked for. */
  listen(address: { readonly host: string; readonly port: number }): Promise<number>;
  /** Ends every link, telling why: when this agent is not leader any more. */
  dropLinks(reason: ErrorCode): Promise<void>;
  close(): Promise<void>;
}

export function createRpcServer<Local extends MethodTable, Remote extends MethodTable>(
  options: RpcServerOptions<Local, Remote>,
): RpcServer {
  throw new Error(`being built: ${options.tokens.length}`);
}
