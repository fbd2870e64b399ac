/** Waits for programs that cannot say when they listen. */
import { connect } from 'node:net';
import { until } from './until.ts';

const listensWithinMs = 10_000;

export async function listens(port: number, signal: AbortSignal): Promise<void> {
  await until({ withinMs: listensWithinMs, everyMs: 20, what: `something listens on port ${port}`, signal }, () => {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    return promise.finally(() => socket.destroy());
  });
}
