/** The ports that clients connect to, and what it takes to close them without cutting anybody off. */
import { createServer, type Server, type Socket } from 'node:net';
import { listen, type TcpAddress } from '../../shared/net/listen.ts';
import { Acceptor, socketBytes, type AcceptorDeps } from './acceptor.ts';

export type CallServer = Awaited<ReturnType<typeof startServer>>;

/** More than a first message of TLS has, so that the end of a client that waits for its handshake is seen behind it. */
const helloBytes = 16_384;

/** @throws the error of `listen`, such as EADDRINUSE. */
export async function startServer(deps: AcceptorDeps) {
  const acceptor = new Acceptor(deps);
  const { connections } = acceptor;
  const { listen_host: host, listen_port: port } = deps.config;
  const plain = await openPort({ host, port }, socketBytes, (socket) => acceptor.accept(socket));
  const open = [plain];
  if (deps.tls !== undefined) {
    const { listen_port: tlsPort = 0 } = deps.tls.config;
    try {
      open.push(await openPort({ host, port: tlsPort }, helloBytes, (socket) => acceptor.acceptTls(socket)));
    } catch (error) {
      plain.server.close();
      throw error;
    }
  }
  return {
    port: plain.port,
    tlsPort: open[1]?.port,
    /** Connections of HTTP/2, and the calls on them. */
    http2: acceptor.http2.capacity,
    get connections(): number {
      return connections.size;
    },
    /** What the connections take of `max_connections`. */
    get places(): number {
      return connections.places;
    },
    /** Handshakes of TLS under way. */
    get handshakes(): number {
      return acceptor.handshakes?.begun ?? 0;
    },
    /** Bytes that wait for the one client that is furthest behind. */
    bufferedMax(): number {
      let max = 0;
      for (const { bufferedBytes } of connections) max = Math.max(max, bufferedBytes);
      return max;
    },
    /** Takes no new connection, and closes idle ones now, the others after their calls. */
    drain(): void {
      for (const { server } of open) server.close();
      acceptor.drain();
    },
    /** Resolves when the last connection is gone, or after `timeoutMs`. */
    whenEmpty: (timeoutMs: number): Promise<void> => acceptor.whenEmpty(timeoutMs),
    async close(): Promise<void> {
      const closed = open.map(({ server }) => new Promise<void>((resolve) => void server.close(() => resolve())));
      acceptor.destroyAll();
      await Promise.all(closed);
    },
  };
}

/** @param readBytes what a paused socket still reads, perhaps byte by byte, before the kernel holds its client back. */
async function openPort(
  address: TcpAddress,
  readBytes: number,
  onSocket: (socket: Socket) => void,
): Promise<{ readonly server: Server; readonly port: number }> {
  const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, highWaterMark: readBytes };
  const server = createServer(options, onSocket);
  const { port } = await listen(server, { ...address, backlog: 4_096 });
  // A connection could not be accepted; the next one may be.
  server.on('error', () => undefined);
  return { server, port };
}
