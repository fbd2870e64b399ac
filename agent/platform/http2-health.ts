/** Asks an app that speaks HTTP/2 without TLS for its health, on a connection of its own. */
import { connect } from 'node:http2';

export interface Http2Health {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly timeoutMs: number;
}

/** @returns whether it answers with 2xx or 3xx in time. Never throws. */
export async function isHealthyByHttp2(asked: Http2Health, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  const { host, port, path, timeoutMs } = asked;
  return await new Promise((resolve) => {
    const authority = `http://${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
    const session = connect(authority, { settings: { enablePush: false } });
    const end = (healthy: boolean): void => {
      signal.removeEventListener('abort', onAbort);
      clearTimeout(timer);
      session.destroy();
      resolve(healthy);
    };
    const onAbort = (): void => end(false);
    const timer = setTimeout(onAbort, timeoutMs);
    signal.addEventListener('abort', onAbort, { once: true });
    session.on('error', () => end(false));
    session.once('close', () => end(false));
    const stream = session.request({ ':path': path, 'user-agent': 'holdfast-probe' });
    stream.on('error', () => end(false));
    stream.once('close', () => end(false));
    // The status is all that counts: a health page may be a stream without end.
    stream.once('response', ({ ':status': status = 0 }) => end(status >= 200 && status < 400));
  });
}
