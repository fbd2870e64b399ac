/** Ports of 127.0.0.1 for programs that cannot say which one they got. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { until } from './until.ts';

const listensWithinMs = 10_000;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

export async function listens(port: number, signal: AbortSignal): Promise<void> {
  await until({ withinMs: listensWithinMs, everyMs: 20, what: `something listens on port ${port}`, signal }, () => {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    return promise.finally(() => socket.destroy());
  });
}
