/** The server that calls come in by: node:http with bounds, and what it takes to close it without cutting anybody off. */
import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { toAppError, type AppError } from '../shared/errors.ts';
import { rawAnswer, sendProblem, toProblem, type Problem, type ProblemOptions } from '../shared/problem.ts';
import { Call, type CallRouting, type UpgradeRequest } from './call.ts';
import type { RouterConfig } from './config.ts';
import type { HeadReader } from './headers.ts';
import { parserRefusal, refusedMethod } from './refusal.ts';
import { routeHost } from './routes.ts';
import { wantsUpgrade, watchClient } from './upgrade.ts';

export interface ServerDeps {
  readonly config: Pick<
    RouterConfig,
    | 'listen_host'
    | 'listen_port'
    | 'max_header_bytes'
    | 'hold_max_calls'
    | 'request_headers_timeout_secs'
    | 'keep_alive_timeout_secs'
  >;
  readonly headReader: HeadReader;
  readonly routing: CallRouting;
  /** A request was refused before it was a call. */
  readonly onRefused: (status: number) => void;
}

export interface CallServer {
  readonly port: number;
  connections(): Promise<number>;
  /** No new connection; those without a call are closed, the others after it. */
  stopAccepting(): void;
  /** Resolves when the last connection is gone, or after `timeoutMs`. */
  whenEmpty(timeoutMs: number): Promise<void>;
  /** Closes what is still there. */
  close(): Promise<void>;
}

/** What is under way on a connection. */
interface ConnectionState {
  /** Requests that have no whole answer yet; more than one where they are pipelined. */
  answering: number;
  /** The last one. */
  request: IncomingMessage | undefined;
  /** Nothing more is taken from it. */
  refused: boolean;
}

/** Connections beyond those that may be held. */
const spareConnections = 10_000;

export async function startServer(deps: ServerDeps): Promise<CallServer> {
  const { config, headReader, routing } = deps;
  const server = createServer({
    maxHeaderSize: config.max_header_bytes,
    headersTimeout: config.request_headers_timeout_secs * 1_000,
    // Bodies stream for as long as they last; their own limit counts from when they are read (request-body.ts).
    requestTimeout: 0,
    keepAliveTimeout: config.keep_alive_timeout_secs * 1_000,
    keepAlive: true,
    insecureHTTPParser: false,
    // Refused by the router, so that it is a problem and is counted.
    requireHostHeader: false,
    shouldUpgradeCallback: wantsUpgrade,
  });
  // Their size is bounded; a number would silently drop what is over it.
  server.maxHeadersCount = 0;
  server.maxConnections = config.hold_max_calls + spareConnections;

  const sockets = new Set<Socket>();
  const states = new WeakMap<Duplex, ConnectionState>();
  let accepting = true;
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    states.set(socket, { answering: 0, request: undefined, refused: false });
    socket.once('close', () => sockets.delete(socket));
  });

  function take(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean, upgrade?: UpgradeRequest): void {
    const state = states.get(req.socket);
    // The parser goes on with what had come together with a refused request.
    if (state === undefined || state.refused) return;
    state.request = req;
    state.answering += 1;
    res.once('close', () => {
      state.answering -= 1;
      if (!accepting && upgrade === undefined && state.answering === 0) req.socket.destroySoon();
    });
    const method = refusedMethod(req.method);
    if (method !== undefined) {
      refuse(state, res, method.error, method.options);
      return;
    }
    try {
      const head = headReader.read(req);
      const call = new Call({
        req,
        res,
        head,
        host: routeHost(head.host),
        expectsContinue,
        routing,
        ...(upgrade === undefined ? undefined : { upgrade }),
      });
      routing.route(call);
    } catch (error) {
      refuse(state, res, toAppError(error), { headers: { Connection: 'close' } });
    }
  }

  /** Node closes the connection after an answer that says so. */
  function refuse(state: ConnectionState, res: ServerResponse, error: AppError, options: ProblemOptions): void {
    state.refused = true;
    deps.onRefused(options.status ?? error.status);
    if (res.headersSent) res.destroy();
    else sendProblem(res, error, options);
  }

  /** Whether a request that makes the connection its own may have it: no order of answers fits one that comes before its turn. */
  function mayTakeOver(socket: Duplex): boolean {
    const state = states.get(socket);
    if (state?.refused === true) return false; // Its answer ends it.
    if (state?.answering === 0) return true;
    socket.destroy();
    return false;
  }

  /** Where there is no response object: at once and as the last thing on the connection. */
  function refuseRaw(state: ConnectionState, socket: Duplex, problem: Problem): void {
    state.refused = true;
    deps.onRefused(problem.status);
    socket.end(rawAnswer(problem), () => socket.destroy());
  }

  server.on('request', (req, res) => take(req, res, false));
  server.on('checkContinue', (req, res) => take(req, res, true));
  server.on('checkExpectation', (req, res) => take(req, res, false));
  server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
    if (!mayTakeOver(socket)) return;
    const res = new ServerResponse(req);
    res.assignSocket(socket);
    // An answer other than 101 ends the connection.
    res.once('finish', () => socket.destroySoon());
    take(req, res, false, watchClient(socket, head));
  });
  server.on('connect', (req: IncomingMessage, socket: Duplex) => {
    // Node has taken its own listener away.
    socket.on('error', () => socket.destroy());
    const state = states.get(socket);
    const method = refusedMethod(req.method);
    if (state === undefined || method === undefined || !mayTakeOver(socket)) return;
    refuseRaw(state, socket, toProblem(method.error, method.options));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    const state = states.get(socket);
    // Its only answer is on the way, and ends the connection.
    if (state?.refused === true && error.code?.startsWith('HPE_') === true) return;
    // An answer here would be a second one to a request of which the body is not right.
    const within = state === undefined || state.answering > 0 || state.request?.complete === false;
    if (within || state.refused || !socket.writable || error.code === 'ECONNRESET') socket.destroy();
    else refuseRaw(state, socket, parserRefusal(error.code));
  });

  await listen(server, config.listen_port, config.listen_host);
  return {
    port: (server.address() as AddressInfo).port,
    connections: () =>
      new Promise((resolve) => {
        server.getConnections((error, count) => resolve(error === null ? count : 0));
      }),
    stopAccepting() {
      accepting = false;
      server.close();
      server.closeIdleConnections();
      // Opened ahead of need, as browsers do: node counts them as being in a request.
      for (const socket of sockets) {
        if (socket.bytesRead === 0) socket.destroy();
      }
    },
    whenEmpty: (timeoutMs) =>
      new Promise((resolve) => {
        const done = (): void => {
          cancel();
          for (const socket of sockets) socket.off('close', check);
          resolve();
        };
        const check = (): void => {
          if (sockets.size === 0) done();
        };
        const cancel = routing.clock.after(timeoutMs, done);
        for (const socket of sockets) socket.once('close', check);
        check();
      }),
    close: () =>
      new Promise((resolve) => {
        accepting = false;
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host, backlog: 4_096 }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
