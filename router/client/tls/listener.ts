/** The port of TLS: accepts, has handshakes done, and hands over what is secure. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { Handshakes } from './handshakes.ts';

export interface TlsListenerDeps {
  readonly handshakes: Handshakes;
  /** Whether there is room for one more. */
  readonly admits: (socket: Socket) => boolean;
  readonly listen: (server: Server) => Promise<void>;
}

export interface TlsListener {
  readonly port: number;
  /** No new connection. */
  stopAccepting(): void;
  close(): Promise<void>;
}

/** More than a first message of TLS has, so that the end of a client that waits for its turn is seen behind it. */
const helloBytes = 16_384;
/** Time that a connection without a request has at the end of the router. */
const newcomerMs = 1_000;

export async function startTlsListener(deps: TlsListenerDeps): Promise<TlsListener> {
  const { handshakes } = deps;
  const server = createServer(
    { allowHalfOpen: true, noDelay: true, keepAlive: true, highWaterMark: helloBytes },
    (socket: Socket) => {
      if (deps.admits(socket)) handshakes.take(socket);
      else socket.destroy();
    },
  );
  server.on('error', () => undefined);
  await deps.listen(server);
  return {
    port: (server.address() as AddressInfo).port,
    stopAccepting() {
      server.close();
      handshakes.finish(newcomerMs);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        handshakes.close();
      }),
  };
}
