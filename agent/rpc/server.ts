/**
 * The agent's RPC endpoint: links by WebSocket (`upgrade.ts`) and single calls by HTTP POST (`post.ts`), both on `/rpc` of
 * one port, both behind the same admission (`admission.ts`).
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { AppError, toAppError, type ErrorCode } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { rpcPath, subprotocol, type MethodTable } from '../../shared/protocol/methods.ts';
import { sendProblem } from '../../shared/problem.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { createDispatch } from '../../shared/rpc/dispatch.ts';
import { defaultLimits, type RpcLimits } from '../../shared/rpc/limits.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from '../../shared/rpc/types.ts';
import { createAdmission } from './admission.ts';
import type { HttpEndpoint } from './endpoint.ts';
import { createPost } from './post.ts';
import { createTokenCheck, type RpcToken } from './tokens.ts';
import { createLinks } from './upgrade.ts';

export interface RpcServerOptions<Local extends MethodTable, Remote extends MethodTable> {
  readonly tokens: readonly RpcToken[];
  readonly local: Local;
  readonly remote: Remote;
  readonly handlers: Handlers<Local, Remote>;
  readonly notifications?: NotificationHandlers<Remote>;
  readonly limits?: Partial<RpcLimits & ServerLimits>;
  /** What else the port serves. */
  readonly endpoints?: readonly HttpEndpoint[];
  /** False: every link and call is refused with not_leader. */
  readonly isLeader: () => boolean;
  readonly log: Log;
  readonly clock?: Clock;
  /** Runs for each new link. */
  readonly onPeer?: (peer: Peer<Remote>, identity: Identity) => void;
}

interface ServerLimits {
  /** Sockets of all kinds; more are not accepted. */
  readonly maxConnections: number;
  /** Links and POST calls in flight of one token. */
  readonly maxConnectionsPerToken: number;
  /** From the connection to the end of the request headers. */
  readonly headersTimeoutMs: number;
  /** From the connection to the end of the request body. */
  readonly requestTimeoutMs: number;
}

const defaultServerLimits: ServerLimits = {
  maxConnections: 2_048,
  maxConnectionsPerToken: 512,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
};

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
  const { log, local, isLeader, onPeer = () => {} } = options;
  const limits = { ...defaultLimits, ...defaultServerLimits, ...options.limits };
  const handlers = whileLeader(options.handlers, isLeader);
  const admit = createAdmission({
    checkToken: createTokenCheck(options.tokens),
    isLeader,
    maxPerToken: limits.maxConnectionsPerToken,
  });
  const links = createLinks({ peer: { ...options, handlers, limits }, limits, admit, log, onPeer });
  const servePost = createPost({ dispatch: createDispatch({ local, handlers }), limits, log });

  const server = createServer({
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    // How often Node looks for sockets over these two times.
    connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
    keepAliveTimeout: 5_000,
    // Other protocols on offer (`h2c`) may be ignored, RFC 9110 §7.8.
    shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  server.maxConnections = limits.maxConnections;
  server.on('upgrade', links.upgrade);
  server.on('request', (request, response) => {
    respond(request, response).catch((error: unknown) => {
      log.error({ err: error }, 'an HTTP request failed');
      response.destroy();
    });
  });

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url?.split('?', 1)[0];
    if (path === '/' && request.method === 'GET') {
      response.end(`Holdfast agent. RPC: POST ${rpcPath}, or WebSocket ${rpcPath} with subprotocol ${subprotocol}.\n`);
    } else if (path !== rpcPath) {
      const endpoint = options.endpoints?.find((one) => path?.startsWith(`${one.path}/`));
      if (endpoint !== undefined) return await serveEndpoint(endpoint, request, response);
      sendProblem(response, new AppError('method_not_found', `the RPC endpoint is ${rpcPath}`));
    } else if (request.method === 'POST') {
      await postCall(request, response);
    } else {
      const error = new AppError('invalid_request', `${rpcPath} takes POST, or a WebSocket`);
      sendProblem(response, error, { status: 405, headers: { Allow: 'POST' } });
    }
  }

  async function serveEndpoint(
    endpoint: HttpEndpoint,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    let leave: (() => void) | undefined;
    try {
      if (!isLeader()) throw new AppError('not_leader', 'this agent is a standby', { retryAfterMs: 1_000 });
      await endpoint.handle(request, response, () => {
        const admission = admit(request);
        ({ leave } = admission);
        return admission.identity;
      });
    } catch (thrown) {
      const error = toAppError(thrown);
      if (error.code === 'internal') log.error({ err: thrown, path: endpoint.path }, 'an HTTP request failed');
      if (response.headersSent || response.destroyed) response.destroy();
      else sendProblem(response, error, request.readableEnded ? {} : { headers: { Connection: 'close' } });
    } finally {
      leave?.();
    }
  }

  async function postCall(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let admission;
    try {
      admission = admit(request);
    } catch (thrown) {
      // The body is not read, so the socket cannot be used again.
      sendProblem(response, toAppError(thrown), { headers: { Connection: 'close' } });
      return;
    }
    try {
      await servePost(request, response, admission.identity);
    } finally {
      admission.leave();
    }
  }

  return {
    async listen({ host, port }) {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(port, host, () => {
          server.off('error', reject);
          resolve();
        });
      });
      const address = server.address();
      return typeof address === 'object' && address !== null ? address.port : port;
    },
    dropLinks: (reason) => links.drop(reason),
    async close() {
      const closed = new Promise<void>((resolve) => {
        server.close(() => {
          resolve();
        });
      });
      await links.close();
      // Calls by POST end as those of a link do: the client sees the connection go.
      server.closeAllConnections();
      await closed;
    },
  };
}

/** A link may outlive the leadership by a moment; its calls must not. */
function whileLeader<Local extends MethodTable, Remote extends MethodTable>(
  handlers: Handlers<Local, Remote>,
  isLeader: () => boolean,
): Handlers<Local, Remote> {
  type AnyHandler = (params: never, context: never) => Promise<unknown>;
  const guarded = Object.entries(handlers as Record<string, AnyHandler>).map(([name, handler]) => {
    const guard: AnyHandler = (params, context) =>
      isLeader()
        ? handler(params, context)
        : Promise.reject(new AppError('not_leader', 'this agent is not the leader any more', { retryAfterMs: 1_000 }));
    return [name, guard] as const;
  });
  return Object.fromEntries(guarded) as unknown as Handlers<Local, Remote>;
}
