/**
 * The agent's RPC endpoint: links by WebSocket (`upgrade.ts`) and single calls by HTTP POST (`post.ts`). Both are on `/rpc` of one port,
 * behind the same admission (`admission.ts`).
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { ErrorCode } from '../../shared/error-codes.ts';
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { rpcPath, subprotocol, type MethodTable } from '../../shared/protocol/methods.ts';
import { listen } from '../../shared/net/listen.ts';
import { sendProblem } from '../../shared/problem.ts';
import { systemClock, type Clock } from '../../shared/wait/clock.ts';
import { createDispatch, type ServedCall } from '../../shared/rpc/dispatch.ts';
import { defaultLimits, type RpcLimits } from '../../shared/rpc/limits.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from '../../shared/rpc/types.ts';
import { createAdmission, notLeader } from './admission.ts';
import { serveEndpoint, type HttpEndpoint } from './endpoint.ts';
import { createHostCheck, type HostCheck } from './own-host.ts';
import { BodyBudget } from './body-budget.ts';
import { ClientSockets } from './client-sockets.ts';
import { createPost } from './post.ts';
import type { Tokens } from './tokens.ts';
import { createLinks } from './upgrade.ts';

export interface RpcServerOptions<Local extends MethodTable, Remote extends MethodTable> {
  readonly tokens: Pick<Tokens, 'check'>;
  readonly local: Local;
  readonly remote: Remote;
  readonly handlers: Handlers<Local, Remote>;
  readonly notifications?: NotificationHandlers<Remote>;
  readonly limits?: Partial<RpcLimits & ServerLimits>;
  /** Hosts beside those of this machine under which a server on a loopback address answers. */
  readonly hosts?: readonly string[];
  /** Further HTTP endpoints of the port. */
  readonly endpoints?: readonly HttpEndpoint[];
  /** While it returns false, every link and call is refused. */
  readonly isLeader: () => boolean;
  /** With what they are refused; by default not_leader. */
  readonly whyNotLeader?: () => AppError;
  readonly log: Log;
  readonly clock?: Clock;
  /** Called at the end of each call, and for callers that are not admitted. */
  readonly audit?: {
    readonly served: (call: ServedCall) => void;
    readonly denied: (request: IncomingMessage, error: AppError, name: string | undefined) => void;
  };
  /** Runs for each new link. */
  readonly onPeer?: (peer: Peer<Remote>, identity: Identity) => void;
}

interface ServerLimits {
  /** Open sockets of all kinds; further ones take the place of those without a token, or are not accepted. */
  readonly maxConnections: number;
  /** Links and POST calls in flight per token that routers use. */
  readonly maxConnectionsPerToken: number;
  /** The same for all other tokens. */
  readonly maxConnectionsPerCaller: number;
  /** Bytes of POST bodies in memory, in all and per token. */
  readonly maxBodyBytes: number;
  readonly maxBodyBytesPerToken: number;
  /** Unsent bytes of a link or an answer to a caller that is no router. */
  readonly maxCallerSendBufferBytes: number;
  /** Time from the connection to the end of the request headers. */
  readonly headersTimeoutMs: number;
  /** Time from the connection to the end of the request body. */
  readonly requestTimeoutMs: number;
}

const defaultServerLimits: ServerLimits = {
  maxConnections: 2_048,
  maxConnectionsPerToken: 512,
  maxConnectionsPerCaller: 64,
  maxBodyBytes: 128 * 1024 ** 2,
  maxBodyBytesPerToken: 32 * 1024 ** 2,
  maxCallerSendBufferBytes: 4 * 1024 ** 2,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
};

export interface RpcServer {
  /** @returns the port; 0 takes a free one. @throws the error of the system, such as EADDRINUSE. */
  listen(address: { readonly host: string; readonly port: number }): Promise<number>;
  /** Ends the links whose token counts no more. */
  endInvalidLinks(): void;
  /** Ends every link with the reason, when this agent no longer leads. */
  dropLinks(reason: ErrorCode): Promise<void>;
  close(): Promise<void>;
}

export function createRpcServer<Local extends MethodTable, Remote extends MethodTable>(
  options: RpcServerOptions<Local, Remote>,
): RpcServer {
  const { log, local, isLeader, whyNotLeader = notLeader, clock = systemClock, onPeer = () => {} } = options;
  const limits = { ...defaultLimits, ...defaultServerLimits, ...options.limits };
  const handlers = whileLeader(options.handlers, { isLeader, whyNotLeader });
  const sockets = new ClientSockets(limits.maxConnections);
  const admit = createAdmission({
    tokens: options.tokens,
    isLeader,
    whyNotLeader,
    maxPerRouterToken: limits.maxConnectionsPerToken,
    maxPerToken: Math.min(limits.maxConnectionsPerCaller, limits.maxConnectionsPerToken),
    onKnown: (request) => sockets.authenticated(request.socket),
    onDenied: options.audit?.denied,
  });
  const callerSendBytes = Math.min(limits.maxCallerSendBufferBytes, limits.maxSendBufferBytes);
  let checkHost: HostCheck = () => undefined;
  const links = createLinks({
    checkHost: (request) => checkHost(request),
    peer: { ...options, handlers, limits, clock, onServed: options.audit?.served },
    limits,
    callerLimits: { ...limits, maxSendBufferBytes: callerSendBytes },
    admit,
    log,
    onPeer,
  });
  const servePost = createPost({
    dispatch: createDispatch({ local, handlers, onServed: options.audit?.served }),
    admit,
    limits: { ...limits, maxSendBufferBytes: callerSendBytes },
    bodies: new BodyBudget({ totalBytes: limits.maxBodyBytes, keyBytes: limits.maxBodyBytesPerToken }),
    clock,
    log,
  });

  const server = createServer({
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    // How often Node checks sockets for these two times.
    connectionsCheckingInterval: Math.min(1_000, limits.headersTimeoutMs),
    keepAliveTimeout: 5_000,
    // Other protocols on offer (`h2c`) may be ignored, RFC 9110 §7.8.
    shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
  });
  server.on('connection', (socket) => sockets.opened(socket));
  server.on('upgrade', links.upgrade);
  server.on('request', (request, response) => {
    respond(request, response).catch((error: unknown) => {
      log.error({ err: error }, 'an HTTP request failed');
      response.destroy();
    });
  });

  async function respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      checkHost(request);
    } catch (error) {
      sendProblem(response, toAppError(error), { headers: { Connection: 'close' } });
      return;
    }
    const path = request.url?.split('?', 1)[0];
    if (path === '/' && request.method === 'GET') {
      response.end(`Holdfast agent. RPC: POST ${rpcPath}, or WebSocket ${rpcPath} with subprotocol ${subprotocol}.\n`);
    } else if (path !== rpcPath) {
      const endpoint = options.endpoints?.find((one) => path?.startsWith(`${one.path}/`));
      if (endpoint !== undefined)
        return await serveEndpoint({ endpoint, admit, isLeader, whyNotLeader, log }, request, response);
      sendProblem(response, new AppError('method_not_found', `the RPC endpoint is ${rpcPath}`));
    } else if (request.method === 'POST') {
      await servePost(request, response);
    } else {
      const error = new AppError('invalid_request', `${rpcPath} takes POST, or a WebSocket`);
      sendProblem(response, error, { status: 405, headers: { Allow: 'POST' } });
    }
  }

  return {
    async listen(address) {
      checkHost = createHostCheck(address.host, options.hosts ?? []);
      return (await listen(server, address)).port;
    },
    endInvalidLinks: () => links.endInvalid(),
    dropLinks: (reason) => links.drop(reason),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      await links.close();
      // Calls by POST end like those of a link: the client sees the connection close.
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Refuses every call while this agent does not lead: a link may outlive the lead by a moment, its calls must not. */
function whileLeader<H extends object>(
  handlers: H,
  { isLeader, whyNotLeader }: Required<Pick<RpcServerOptions<MethodTable, MethodTable>, 'isLeader' | 'whyNotLeader'>>,
): H {
  return new Proxy(handlers, {
    get(target, method, receiver): unknown {
      if (!isLeader()) throw whyNotLeader();
      return Reflect.get(target, method, receiver);
    },
  });
}
