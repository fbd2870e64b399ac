/**
 * Probes once, on a connection of its own, whether an app answers: by the status of its health page, or by an open port if it has none.
 * An app that is starting is probed many times, so a probe costs as little as possible: a socket and, for HTTP/1.1, one line of the answer.
 */
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { deadlineSignal, onAbort } from '../../shared/wait/abort.ts';
import { systemClock } from '../../shared/wait/clock.ts';

export interface Probe {
  readonly host: string;
  readonly port: number;
  /** The path that must answer 2xx or 3xx; undefined: an open port is enough. */
  readonly healthPath: string | undefined;
  /** The protocol of the app; HTTP/1.1 by default. */
  readonly protocol?: 'http1' | 'h2c' | undefined;
  /** Bounds a host that drops packets and an app that accepts but does not answer. */
  readonly timeoutMs: number;
}

/** Interim answers (1xx) may come before the final one; with more bytes than this the probe fails. */
const maxHeadBytes = 16_384;
const statusLine = /^HTTP\/1\.\d ([1-5]\d\d)[ \r\n]/;

/** @returns whether the app answers in time, and before the signal aborts. Never throws. */
export async function probeOnce(probe: Probe, signal: AbortSignal): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  using deadline = deadlineSignal({ clock: systemClock, ms: probe.timeoutMs, signal });
  if (deadline.signal.aborted) return false;
  using _listener = onAbort(deadline.signal, () => resolve(false));
  const connection =
    probe.healthPath === undefined
      ? probePort(probe, resolve)
      : probe.protocol === 'h2c'
        ? probeHttp2(probe, probe.healthPath, resolve)
        : probeHttp1(probe, probe.healthPath, resolve);
  try {
    return await promise;
  } finally {
    connection.destroy();
  }
}

type Report = (answers: boolean) => void;
interface Connection {
  destroy(): void;
}

function probePort({ host, port }: Probe, report: Report): Connection {
  const fail = (): void => report(false);
  return connect({ host, port }, () => report(true))
    .on('error', fail)
    .once('close', fail);
}

function probeHttp1({ host, port }: Probe, path: string, report: Report): Connection {
  const fail = (): void => report(false);
  const socket = connect({ host, port }).on('error', fail).once('close', fail);
  const request = `GET ${path} HTTP/1.1\r\nHost: ${authorityOf(host, port)}`;
  socket.write(`${request}\r\nUser-Agent: holdfast-probe\r\nConnection: close\r\n\r\n`);
  let head = '';
  socket.on('data', (chunk) => {
    head += chunk.toString('latin1');
    const status = finalStatus(head);
    // Only the status counts: the body of a health page may never end.
    if (status !== undefined) report(isHealthy(status));
    else if (head.length > maxHeadBytes) fail();
  });
  return socket;
}

function probeHttp2({ host, port }: Probe, path: string, report: Report): Connection {
  const fail = (): void => report(false);
  const session = connectHttp2(`http://${authorityOf(host, port)}`, { settings: { enablePush: false } });
  session.on('error', fail).once('close', fail);
  session
    .request({ ':path': path, 'user-agent': 'holdfast-probe' })
    .on('error', fail)
    .once('close', fail)
    .once('response', ({ ':status': status = 0 }) => report(isHealthy(status)));
  return session;
}

function authorityOf(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

function isHealthy(status: number): boolean {
  return status >= 200 && status < 400;
}

/** @returns 0 if it is not HTTP/1, undefined if the final status has not come yet. */
function finalStatus(head: string): number | undefined {
  for (let from = 0; ;) {
    const line = head.slice(from, head.indexOf('\n', from) + 1);
    if (line === '') return undefined;
    const status = Number(statusLine.exec(line)?.[1] ?? 0);
    if (status === 0 || status >= 200) return status;
    const end = head.indexOf('\r\n\r\n', from);
    if (end < 0) return undefined;
    from = end + 4;
  }
}
