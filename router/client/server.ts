/** The server that calls come in by, and what it takes to close it without cutting anybody off. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Backlogs } from '../io/backlog.ts';
import { Connections } from './connections.ts';
import type { CallRouting } from '../call/call.ts';
import { backToStream } from '../io/client-socket.ts';
import { ClientLimit } from './client-limit.ts';
import { trustedProxies, type Client } from '../message/peer-identity.ts';
import type { RouterConfig } from '../config.ts';
import type { ClientConnection, ConnectionDeps } from './connection-deps.ts';
import { H1Connection } from './h1-connection.ts';
import type { Deadlines } from '../io/deadlines.ts';
import type { HeadWriter } from '../message/head-writer.ts';
import type { RequestParser } from '../message/request-parser.ts';
import { createHttp2Acceptor, type Http2Config } from './h2-acceptor.ts';
import { isPreface } from './h2-preface.ts';
import type { Ids } from '../message/ids.ts';
import type { ReadAhead } from '../io/read-ahead.ts';
import { Handshakes } from './tls/handshakes.ts';
import { startTlsListener, type TlsListener } from './tls/listener.ts';
import type { OpenTls } from './tls/open-tls.ts';

export interface ServerDeps {
  readonly config: Pick<
    RouterConfig,
    | 'listen_host'
    | 'listen_port'
    | 'max_connections'
    | 'max_connections_per_client'
    | 'max_header_bytes'
    | 'max_header_fields'
    | 'max_trailer_bytes'
    | 'request_headers_timeout_secs'
    | 'request_timeout_secs'
    | 'request_stall_timeout_secs'
    | 'response_stall_timeout_secs'
    | 'keep_alive_timeout_secs'
    | 'trusted_proxies'
    | 'http2'
  > &
    Http2Config;
  readonly routing: CallRouting;
  readonly deadlines: Deadlines;
  readonly readAhead: ReadAhead;
  readonly backlogs: Backlogs;
  readonly writer: HeadWriter;
  readonly requestParser: RequestParser;
  readonly ids: Ids;
  /** A request was refused before it was a call. */
  readonly onRefused: (client: Client, status: number) => void;
  /** A connection was closed as it came: there are as many as there may be, of all clients, of this one or of HTTP/2. */
  readonly onCrowded: (reason: 'all' | 'client' | 'http2') => void;
  /** A connection without a call was closed to make room. */
  readonly onEvicted: () => void;
  readonly tls?: OpenTls | undefined;
}

export interface CallServer {
  readonly port: number;
  /** Where TLS is spoken. */
  readonly tlsPort: number | undefined;
  readonly connections: number;
  /** What they take of `max_connections`. */
  readonly places: number;
  /** Handshakes of TLS under way. */
  readonly handshakes: number;
  /** Those of HTTP/2, and their streams. */
  http2(): { readonly sessions: number; readonly streams: number };
  /** Bytes that wait for the one client for whom most wait. */
  bufferedMax(): number;
  /** No new connection; those without a call are closed, the others after it. */
  stopAccepting(): void;
  /** Resolves when the last connection is gone, or after `timeoutMs`. */
  whenEmpty(timeoutMs: number): Promise<void>;
  /** Closes what is still there. */
  close(): Promise<void>;
}

/**
 * What a paused socket still reads, perhaps byte by byte, before the kernel holds its client up; and from what on it tells
 * that all is taken, which must be no more than the least `stream_buffer_bytes`.
 */
const socketBytes = 1_024;

export async function startServer(deps: ServerDeps): Promise<CallServer> {
  const { config, routing } = deps;
  let accepting = true;
  let onEmpty: (() => void) | undefined;
  const keepAliveSecs = Math.max(1, Math.floor(config.keep_alive_timeout_secs));
  const shared: ConnectionDeps = {
    routing,
    deadlines: deps.deadlines,
    readAhead: deps.readAhead,
    backlogs: deps.backlogs,
    writer: deps.writer,
    ids: deps.ids,
    parser: deps.requestParser,
    trusted: trustedProxies(config.trusted_proxies),
    keepAliveFields: `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveSecs}\r\n`,
    limits: {
      maxHeaderBytes: config.max_header_bytes,
      maxFields: config.max_header_fields,
      maxTrailerBytes: config.max_trailer_bytes,
      headTimeoutMs: config.request_headers_timeout_secs * 1_000,
      keepAliveMs: config.keep_alive_timeout_secs * 1_000,
      bodyTimeoutMs: config.request_timeout_secs * 1_000,
      bodyStallMs: config.request_stall_timeout_secs * 1_000,
      answerStallMs: config.response_stall_timeout_secs * 1_000,
    },
    closing: () => !accepting,
    onRefused: deps.onRefused,
    onClosed(connection) {
      connections.delete(connection);
      if (isEmpty()) onEmpty?.();
    },
    takeHttp2,
  };
  const connections = new Connections({
    max: config.max_connections,
    http2: config.http2,
    clock: routing.clock,
    handshakes: () => handshakes,
    onEvicted: deps.onEvicted,
  });
  const isEmpty = (): boolean => connections.size === 0 && (handshakes === undefined || handshakes.size === 0);
  const ofClients = new ClientLimit(config.max_connections_per_client, shared.trusted);
  const admits = (socket: Socket, kind: 'plain' | 'tls'): boolean => {
    // First: nobody makes room for one that is refused.
    const mayCome = ofClients.admits(socket);
    if (mayCome && connections.hasRoom(kind)) return true;
    deps.onCrowded(mayCome ? 'all' : 'client');
    return false;
  };
  const http2 = createHttp2Acceptor(config, shared);

  /** A client with prior knowledge, RFC 9113 §3.3: at the very beginning of its connection. */
  function takeHttp2(connection: ClientConnection, received: Buffer): boolean {
    const { socket } = connection;
    if (!config.http2 || socket.bytesRead !== received.length || !isPreface(received)) return false;
    if (http2.room.full || !connections.hasRoom('http2')) {
      deps.onCrowded('http2');
      socket.destroy();
      return true;
    }
    // In bytes of its own: others read into where it is.
    const first = Buffer.from(received);
    backToStream(socket);
    deps.deadlines.delete(connection);
    connections.delete(connection);
    connections.add(http2.accept(socket, first));
    return true;
  }

  const server = createServer(
    { allowHalfOpen: true, noDelay: true, keepAlive: true, highWaterMark: socketBytes },
    (socket: Socket) => {
      if (admits(socket, 'plain')) connections.add(new H1Connection(socket, shared));
      else socket.destroy();
    },
  );
  server.on('error', () => undefined);
  const handshakes = deps.tls && createHandshakes(deps.tls);
  let tls: TlsListener | undefined;

  function createHandshakes({ config: tlsConfig, certificates, onHandshake }: OpenTls): Handshakes {
    return new Handshakes({
      certificates,
      clock: routing.clock,
      deadlines: deps.deadlines,
      alpn: () => (config.http2 && !http2.room.full ? ['h2', 'http/1.1'] : ['http/1.1']),
      timeoutMs: tlsConfig.handshake_timeout_secs * 1_000,
      max: tlsConfig.max_handshakes,
      highWaterMark: socketBytes,
      onSecure(socket) {
        const connection = socket.alpnProtocol === 'h2' ? http2.accept(socket) : new H1Connection(socket, shared);
        connections.add(connection);
        if (!accepting) connection.drain();
      },
      onEnded(result) {
        onHandshake(result);
        // One that is secure is a connection in a moment.
        if (result !== 'ok' && isEmpty()) onEmpty?.();
      },
    });
  }

  await listen(server, config.listen_port, config.listen_host);
  if (deps.tls !== undefined && handshakes !== undefined) {
    const { listen_port: port = 0 } = deps.tls.config;
    try {
      const toListen = (tlsServer: Server): Promise<void> => listen(tlsServer, port, config.listen_host);
      tls = await startTlsListener({ handshakes, admits: (socket) => admits(socket, 'tls'), listen: toListen });
    } catch (error) {
      server.close();
      throw error;
    }
  }
  return {
    port: (server.address() as AddressInfo).port,
    tlsPort: tls?.port,
    get connections() {
      return connections.size;
    },
    get places() {
      return connections.places;
    },
    get handshakes() {
      return handshakes?.begun ?? 0;
    },
    http2: () => http2.room,
    bufferedMax() {
      let max = 0;
      for (const { bufferedBytes } of connections) max = Math.max(max, bufferedBytes);
      return max;
    },
    stopAccepting() {
      accepting = false;
      server.close();
      tls?.stopAccepting();
      for (const connection of connections) connection.drain();
    },
    whenEmpty: (timeoutMs) =>
      new Promise((resolve) => {
        const done = (): void => {
          cancel();
          onEmpty = undefined;
          resolve();
        };
        const cancel = routing.clock.after(timeoutMs, done);
        onEmpty = done;
        if (isEmpty()) done();
      }),
    async close() {
      accepting = false;
      const closed = new Promise<void>((resolve) => void server.close(() => resolve()));
      const tlsClosed = tls?.close();
      for (const { socket } of connections) socket.destroy();
      await Promise.all([closed, tlsClosed]);
    },
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
