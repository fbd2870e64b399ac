/** The server that clients connect to, and what it takes to close it without cutting anybody off. */
import { Acceptor, socketBytes, type AcceptorDeps } from './acceptor.ts';
import { startListener, type Listener } from './listener.ts';
import type { OpenTls } from './tls/open-tls.ts';

export interface CallServer {
  readonly port: number;
  readonly tlsPort: number | undefined;
  readonly connections: number;
  /** What the connections take of `max_connections`. */
  readonly places: number;
  /** Handshakes of TLS under way. */
  readonly handshakes: number;
  /** Connections of HTTP/2, and the calls on them. */
  readonly http2: { readonly connections: number; readonly streams: number };
  /** Bytes that wait for the one client that is furthest behind. */
  bufferedMax(): number;
  /** Takes no new connection, and closes idle ones now, the others after their calls. */
  drain(): void;
  /** Resolves when the last connection is gone, or after `timeoutMs`. */
  whenEmpty(timeoutMs: number): Promise<void>;
  /** Closes everything. */
  close(): Promise<void>;
}

/** More than a first message of TLS has, so that the end of a client that waits for its handshake is seen behind it. */
const helloBytes = 16_384;

/** @throws the error of `listen`, such as EADDRINUSE. */
export async function startServer(deps: AcceptorDeps): Promise<CallServer> {
  const acceptor = new Acceptor(deps);
  const { connections } = acceptor;
  const { listen_host: host, listen_port: port } = deps.config;
  const plain = await startListener({
    host,
    port,
    readBytes: socketBytes,
    onSocket: (socket) => acceptor.accept(socket),
  });
  let tls: Listener | undefined;
  try {
    tls = deps.tls && (await startTlsListener(deps.tls, host, acceptor));
  } catch (error) {
    plain.stop();
    throw error;
  }
  return {
    port: plain.port,
    tlsPort: tls?.port,
    http2: acceptor.http2.capacity,
    get connections() {
      return connections.size;
    },
    get places() {
      return connections.places;
    },
    get handshakes() {
      return acceptor.handshakes?.begun ?? 0;
    },
    bufferedMax() {
      let max = 0;
      for (const { bufferedBytes } of connections) max = Math.max(max, bufferedBytes);
      return max;
    },
    drain() {
      plain.stop();
      tls?.stop();
      acceptor.drain();
    },
    whenEmpty: (timeoutMs) => acceptor.whenEmpty(timeoutMs),
    async close() {
      const closed = plain.close();
      const tlsClosed = tls?.close();
      acceptor.destroyAll();
      await Promise.all([closed, tlsClosed]);
    },
  };
}

function startTlsListener({ config }: OpenTls, host: string, acceptor: Acceptor): Promise<Listener> {
  const { listen_port: port = 0 } = config;
  return startListener({ host, port, readBytes: helloBytes, onSocket: (socket) => acceptor.acceptTls(socket) });
}
