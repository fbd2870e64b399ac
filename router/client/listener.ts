/** A port that clients connect to. */
import { createServer, type Socket } from 'node:net';
import { listen } from '../../shared/net/listen.ts';

export interface ListenerOptions {
  readonly host: string;
  readonly port: number;
  /** What a paused socket still reads, perhaps byte by byte, before the kernel holds its client back. */
  readonly readBytes: number;
  readonly onSocket: (socket: Socket) => void;
}

export interface Listener {
  readonly port: number;
  /** Takes no new connection. */
  stop(): void;
  /** The same; resolves when all connections are closed. */
  close(): Promise<void>;
}

const backlog = 4_096;

/** @throws the error of `listen`, such as EADDRINUSE. */
export async function startListener({ host, port, readBytes, onSocket }: ListenerOptions): Promise<Listener> {
  const server = createServer(
    { allowHalfOpen: true, noDelay: true, keepAlive: true, highWaterMark: readBytes },
    onSocket,
  );
  const address = await listen(server, { host, port, backlog });
  // Of a connection that could not be accepted: the next one may be.
  server.on('error', () => undefined);
  return {
    port: address.port,
    stop: () => void server.close(),
    close: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
