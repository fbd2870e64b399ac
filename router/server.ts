/** The server that calls come in by: node:http with bounds, and what it takes to close it without cutting anybody off. */
import { createServer, ServerResponse, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { AppError, toAppError } from '../shared/errors.ts';
import { sendProblem, toProblem } from '../shared/problem.ts';
import { Call, type CallRouting, type UpgradeRequest } from './call.ts';
import type { RouterConfig } from './config.ts';
import type { HeadReader } from './headers.ts';
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
    shouldUpgradeCallback: wantsUpgrade,
  });
  // Their size is bounded; a number would silently drop what is over it.
  server.maxHeadersCount = 0;
  server.maxConnections = config.hold_max_calls + spareConnections;

  const sockets = new Set<Socket>();
  /** Connections on which a request is being answered. */
  const busy = new Set<Duplex>();
  let accepting = true;
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });

  function take(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean, upgrade?: UpgradeRequest): void {
    try {
      const head = headReader.read(req);
      busy.add(req.socket);
      const call = new Call({
        req,
        res,
        head,
        host: routeHost(head.host),
        expectsContinue,
        routing,
        ...(upgrade === undefined ? undefined : { upgrade }),
      });
      res.once('close', () => {
        busy.delete(req.socket);
        if (!accepting && upgrade === undefined) req.socket.destroySoon();
      });
      routing.route(call);
    } catch (error) {
      const refusal = toAppError(error);
      deps.onRefused(refusal.status);
      if (res.headersSent) res.destroy();
      else sendProblem(res, refusal, { headers: { Connection: 'close' } });
    }
  }

  server.on('request', (req, res) => take(req, res, false));
  server.on('checkContinue', (req, res) => take(req, res, true));
  server.on('checkExpectation', (req, res) => take(req, res, false));
  server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
    const res = new ServerResponse(req);
    res.assignSocket(socket);
    // An answer other than 101 ends the connection.
    res.once('finish', () => socket.destroySoon());
    take(req, res, false, watchClient(socket, head));
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (busy.has(socket) || !socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const refusal = parserError(error.code);
    const problem = toProblem(refusal, { headers: { Connection: 'close' } });
    deps.onRefused(problem.status);
    socket.end(rawAnswer(problem), () => socket.destroy());
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

function parserError(code = ''): AppError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new AppError('headers_too_large', 'The header section is over the limit.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new AppError('request_timeout', 'The request head did not arrive in time.');
    default:
      return new AppError('request_invalid', 'The request is not valid HTTP.');
  }
}

function rawAnswer(problem: ReturnType<typeof toProblem>): string {
  const fields = Object.entries(problem.headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${problem.status} Refused\r\n${fields.join('')}\r\n${problem.body}`;
}
