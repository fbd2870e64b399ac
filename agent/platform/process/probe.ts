/** Finds out, fast, that an app answers: tries every few milliseconds until it does. */
import { get } from 'node:http';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { isHealthyByHttp2 } from '../http2-health.ts';

/** One try takes this long at most; a health check may do real work. */
const tryDeadlineMs = 5_000;
/** `localhost` is either of the two, and some servers listen on one alone. */
export const loopbacks = ['127.0.0.1', '::1'] as const;

export interface Probe {
  /** Tried in turn. */
  readonly hosts: readonly string[];
  readonly port: number;
  /** Must answer 2xx or 3xx; without it an open port is enough. */
  readonly healthUrl: string | undefined;
  /** What the app speaks. */
  readonly protocol: 'http1' | 'h2c';
  readonly intervalMs: number;
}

/**
 * Resolves with the host that answers.
 * @throws the reason of the signal, which is its only end without an answer.
 */
export async function waitUntilAnswers(probe: Probe, signal: AbortSignal): Promise<string> {
  for (;;) {
    for (const host of probe.hosts) {
      signal.throwIfAborted();
      const yes = await answers(host, probe, signal);
      if (yes) return host;
    }
    await delay(probe.intervalMs, undefined, { signal });
  }
}

function answers(host: string, probe: Probe, signal: AbortSignal): Promise<boolean> {
  const { port, healthUrl: path, protocol } = probe;
  if (path === undefined) return accepts(host, port, signal);
  return protocol === 'h2c'
    ? isHealthyByHttp2({ host, port, path, timeoutMs: tryDeadlineMs }, signal)
    : isHealthy(host, probe, signal);
}

function accepts(host: string, port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, signal, timeout: tryDeadlineMs });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('timeout', () => socket.destroy());
    // An error (refused, aborted) is followed by close.
    socket.on('error', () => {});
    socket.once('close', () => resolve(false));
  });
}

function isHealthy(host: string, probe: Probe, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const request = get({
      host,
      port: probe.port,
      path: probe.healthUrl,
      agent: false,
      headers: { 'user-agent': 'holdfast-probe', connection: 'close' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(tryDeadlineMs)]),
    });
    request.once('response', (response) => {
      const status = response.statusCode ?? 0;
      resolve(status >= 200 && status < 400);
      response.destroy();
    });
    request.on('error', () => resolve(false));
    request.once('close', () => resolve(false));
  });
}
