/**
 * Asks once, on a connection of its own, whether an app answers: by the status of its health page, or where it has none by an
 * open port. What an app that is being started is asked again and again, so it costs as little as it can: a socket, and for
 * HTTP/1.1 one line that is read of it.
 */
import { connect } from 'node:net';
import { isHealthyByHttp2 } from './http2-health.ts';

export interface Question {
  readonly host: string;
  readonly port: number;
  /** Must be answered 2xx or 3xx; undefined: an open port is enough. */
  readonly healthPath: string | undefined;
  /** What the app speaks, by default HTTP/1.1. */
  readonly protocol?: 'http1' | 'h2c' | undefined;
  /** A host that drops packets, an app that accepts and does not answer. */
  readonly timeoutMs: number;
}

/** Interim answers (1xx) may come before the one that counts; more than so much of them is no answer. */
const maxHeadBytes = 16_384;
const statusLine = /^HTTP\/1\.\d ([1-5]\d\d)[ \r\n]/;

/** @returns whether it answers in time, and before the signal aborts. Never throws. */
export async function answers(question: Question, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  const { healthPath: path, protocol } = question;
  if (path !== undefined && protocol === 'h2c') return await isHealthyByHttp2({ ...question, path }, signal);
  return await new Promise((resolve) => {
    const { host, port, timeoutMs } = question;
    const socket = connect({ host, port });
    const end = (yes: boolean): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', no);
      socket.destroy();
      resolve(yes);
    };
    const no = (): void => end(false);
    const timer = setTimeout(no, timeoutMs);
    signal.addEventListener('abort', no, { once: true });
    socket.on('error', no);
    socket.once('close', no);
    if (path === undefined) {
      socket.once('connect', () => end(true));
      return;
    }
    socket.write(healthRequest(host, port, path));
    let head = '';
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1');
      const status = finalStatus(head);
      // The status is all that counts: a health page may be a stream without end.
      if (status !== undefined) end(status >= 200 && status < 400);
      else if (head.length > maxHeadBytes) end(false);
    });
  });
}

function healthRequest(host: string, port: number, path: string): string {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
  return `GET ${path} HTTP/1.1\r\nHost: ${authority}\r\nUser-Agent: holdfast-probe\r\nConnection: close\r\n\r\n`;
}

/** @returns 0 where it is no HTTP/1, undefined where it has not come yet. */
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
