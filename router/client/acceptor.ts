/** Takes the sockets of clients, has each spoken to in its protocol, and knows when the last one is gone. */
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { sleep } from '../../shared/wait/sleep.ts';
import { ClientFields } from '../message/client-fields.ts';
import { trustedProxies } from '../message/peer-identity.ts';
import { ClientLimit } from './client-limit.ts';
import type { ClientConnection, ConnectionDeps } from './connection-deps.ts';
import { Connections } from './connections.ts';
import { H1Connection } from './h1-connection.ts';
import { createHttp2Acceptor, isPreface, type Http2Acceptor } from './h2-acceptor.ts';
import { connectionLimits, keepAliveFields, type ServerConfig } from './server-config.ts';
import { Handshakes } from './tls/handshakes.ts';
import type { OpenTls } from './tls/open-tls.ts';

export interface AcceptorDeps extends Omit<
  ConnectionDeps,
  'trust' | 'keepAliveFields' | 'limits' | 'closing' | 'onClosed' | 'takeHttp2'
> {
  readonly config: ServerConfig;
  /** A connection was closed on arrival: there is no room for more in all, of its client, or of HTTP/2. */
  readonly onConnectionRefused: (reason: 'all' | 'client' | 'http2') => void;
  readonly onEvicted: () => void;
  readonly tls?: OpenTls | undefined;
}

/**
 * The high-water mark of sockets: what a paused one still reads, and from how many unsent bytes on it fires 'drain'. The latter may
 * not exceed the least `stream_buffer_bytes`.
 */
export const socketBytes = 1_024;
/** A connection that has come just before the router drains has this long for its handshake. */
const newcomerMs = 1_000;

export class Acceptor {
  readonly connections: Connections;
  readonly http2: Http2Acceptor;
  readonly handshakes: Handshakes | undefined;
  readonly #deps: AcceptorDeps;
  readonly #shared: ConnectionDeps;
  readonly #clientLimit: ClientLimit;
  #draining = false;
  #onEmpty: (() => void) | undefined;

  constructor(deps: AcceptorDeps) {
    const { config, routing, deadlines, readAhead, backlogs, sockets, writer, heads, onRefused } = deps;
    this.#deps = deps;
    this.#shared = {
      routing,
      deadlines,
      readAhead,
      backlogs,
      sockets,
      writer,
      heads,
      onRefused,
      trust: {
        proxies: trustedProxies(config.trusted_proxies),
        fields: new ClientFields({ drop: config.drop_client_fields, pass: config.pass_client_fields }),
      },
      keepAliveFields: keepAliveFields(config),
      limits: connectionLimits(config),
      closing: () => this.#draining,
      onClosed: (connection) => this.#closed(connection),
      takeHttp2: (connection, received) => this.#takeHttp2(connection, received),
    };
    this.#clientLimit = new ClientLimit(config.max_connections_per_client, this.#shared.trust.proxies);
    this.http2 = createHttp2Acceptor(config, this.#shared);
    this.handshakes = deps.tls && this.#createHandshakes(deps.tls);
    this.connections = new Connections({
      max: config.max_connections,
      http2: config.http2,
      clock: routing.clock,
      handshakes: this.handshakes,
      onEvicted: deps.onEvicted,
    });
  }

  accept(socket: Socket): void {
    if (this.#admits(socket, 'plain')) this.connections.add(new H1Connection(socket, this.#shared));
    else socket.destroy();
  }

  acceptTls(socket: Socket): void {
    if (this.#admits(socket, 'tls')) this.handshakes?.take(socket);
    else socket.destroy();
  }

  drain(): void {
    this.#draining = true;
    this.handshakes?.finish(newcomerMs);
    for (const connection of this.connections) connection.drain();
  }

  /** Resolves when the last connection is gone, or after `timeoutMs`. */
  async whenEmpty(timeoutMs: number): Promise<void> {
    const empty = new AbortController();
    this.#onEmpty = () => empty.abort();
    if (this.#isEmpty) return;
    await sleep(this.#deps.routing.clock, timeoutMs, empty.signal);
  }

  destroyAll(): void {
    this.#draining = true;
    this.handshakes?.close();
    for (const { socket } of this.connections) socket.destroy();
  }

  get #isEmpty(): boolean {
    return this.connections.size === 0 && (this.handshakes?.size ?? 0) === 0;
  }

  #closed(connection: ClientConnection): void {
    this.connections.delete(connection);
    if (this.#isEmpty) this.#onEmpty?.();
  }

  #admits(socket: Socket, kind: 'plain' | 'tls'): boolean {
    // The limit of the client first: nothing is evicted for a connection that is refused.
    const mayCome = this.#clientLimit.admits(socket);
    if (mayCome && this.connections.hasRoom(kind)) return true;
    this.#deps.onConnectionRefused(mayCome ? 'all' : 'client');
    return false;
  }

  /** Takes a client with prior knowledge, RFC 9113 §3.3, at the very beginning of its connection. */
  #takeHttp2(connection: ClientConnection, received: Buffer): boolean {
    const { socket } = connection;
    if (!this.#deps.config.http2 || socket.bytesRead !== received.length || !isPreface(received)) return false;
    if (this.http2.capacity.isFull || !this.connections.hasRoom('http2')) {
      this.#deps.onConnectionRefused('http2');
      socket.destroy();
      return true;
    }
    // Copied, since the next socket reads into the same memory.
    const first = Buffer.from(received);
    this.#deps.sockets.backToStream(socket);
    this.#deps.deadlines.delete(connection);
    this.connections.delete(connection);
    this.connections.add(this.http2.accept(socket, first));
    return true;
  }

  #createHandshakes({ config, certificates, onHandshake }: OpenTls): Handshakes {
    const { deadlines, routing, config: serverConfig } = this.#deps;
    return new Handshakes({
      certificates,
      clock: routing.clock,
      deadlines,
      alpn: () => (serverConfig.http2 && !this.http2.capacity.isFull ? ['h2', 'http/1.1'] : ['http/1.1']),
      timeoutMs: config.handshake_timeout_secs * 1_000,
      max: config.max_handshakes,
      highWaterMark: socketBytes,
      onSecure: (socket) => this.#secured(socket),
      onEnded: (result) => {
        onHandshake(result);
        // A socket that is secure becomes a connection in a moment.
        if (result !== 'ok' && this.#isEmpty) this.#onEmpty?.();
      },
    });
  }

  #secured(socket: TLSSocket): void {
    const isHttp2 = socket.alpnProtocol === 'h2';
    const connection = isHttp2 ? this.http2.accept(socket) : new H1Connection(socket, this.#shared);
    this.connections.add(connection);
    if (this.#draining) connection.drain();
  }
}
