/**
 * Asks a pod's own address whether it answers, many times a second from the moment the address is known: a held call
 * then goes on when the app answers, without waiting for the kubelet's one-second probes and what follows them.
 */
import { request } from 'node:http';
import { connect } from 'node:net';
import type { Clock } from '../../../shared/clock.ts';
import { sleep } from '../../../shared/sleep.ts';
import { isHealthyByHttp2 } from '../http2-health.ts';

export interface ProbeAddress {
  readonly host: string;
  readonly port: number;
  /** `health_url`; without it an open port is enough. */
  readonly healthPath: string | undefined;
  /** By which it is asked for that; undefined: HTTP/1.1. */
  readonly protocol?: 'h2c' | undefined;
}

export interface Prober {
  /** Probes until an answer comes, then tells it once; returns what ends the probing. */
  watch(address: ProbeAddress, onAnswer: () => void): () => void;
  /** One probe. */
  once(address: ProbeAddress, signal: AbortSignal): Promise<boolean>;
  /** Ends all and waits for it. */
  close(): Promise<void>;
}

/**
 * By how long it has been probed. Most apps answer within the first second of their address; one that has not answered after
 * many takes long, and less often costs it little and saves the agent much.
 */
function intervalMs(probedForMs: number): number {
  if (probedForMs < 1_000) return 5;
  return probedForMs < 15_000 ? 15 : 250;
}
/** With many pods that do not answer, the pace goes down so that all together cost no more than this many probes a second. */
const maxProbesPerSecond = 2_000;
/** Per probe: a host that drops packets, or an app that accepts and does not answer. */
const probeTimeoutMs = 2_000;

export function createProber(deps: {
  readonly clock: Clock;
  /** For tests. */
  readonly probe?: (address: ProbeAddress, signal: AbortSignal) => Promise<boolean>;
}): Prober {
  const { clock, probe = answers } = deps;
  const stop = new AbortController();
  const loops = new Set<Promise<void>>();

  async function loop(address: ProbeAddress, signal: AbortSignal, onAnswer: () => void): Promise<void> {
    const beganMs = clock.nowMs();
    while (!signal.aborted) {
      if (await probe(address, signal)) {
        if (!signal.aborted) onAnswer();
        return;
      }
      const leastMs = (loops.size / maxProbesPerSecond) * 1_000;
      await sleep(clock, Math.max(leastMs, intervalMs(clock.nowMs() - beganMs)), signal);
    }
  }

  return {
    watch(address, onAnswer) {
      const ended = new AbortController();
      const running: Promise<void> = loop(address, AbortSignal.any([ended.signal, stop.signal]), onAnswer).finally(() =>
        loops.delete(running),
      );
      loops.add(running);
      return () => ended.abort();
    },
    once: (address, signal) => probe(address, AbortSignal.any([signal, stop.signal])),
    async close() {
      stop.abort();
      await Promise.all(loops);
    },
  };
}

/** One probe on a connection of its own: a TCP connect, or a GET answered 2xx or 3xx. Never throws. */
async function answers(address: ProbeAddress, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return false;
  const { host, port, healthPath, protocol } = address;
  if (healthPath === undefined) return await opens(address, signal);
  return protocol === 'h2c'
    ? await isHealthyByHttp2({ host, port, path: healthPath, timeoutMs: probeTimeoutMs }, signal)
    : await isHealthy(address, healthPath, signal);
}

async function opens({ host, port }: ProbeAddress, signal: AbortSignal): Promise<boolean> {
  return await new Promise((resolve) => {
    const socket = connect({ host, port, timeout: probeTimeoutMs });
    const end = (open: boolean): void => {
      signal.removeEventListener('abort', onAbort);
      socket.destroy();
      resolve(open);
    };
    const onAbort = (): void => end(false);
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('connect', () => end(true));
    socket.once('timeout', () => end(false));
    socket.on('error', () => end(false));
  });
}

async function isHealthy({ host, port }: ProbeAddress, path: string, signal: AbortSignal): Promise<boolean> {
  return await new Promise((resolve) => {
    const asked = request({
      host,
      port,
      path,
      agent: false,
      timeout: probeTimeoutMs,
      headers: { 'user-agent': 'holdfast-probe' },
    });
    const end = (healthy: boolean): void => {
      signal.removeEventListener('abort', onAbort);
      asked.destroy();
      resolve(healthy);
    };
    const onAbort = (): void => end(false);
    signal.addEventListener('abort', onAbort, { once: true });
    asked.once('response', (response) => {
      const status = response.statusCode ?? 0;
      // The status is all that counts: a health page may be a stream without end.
      end(status >= 200 && status < 400);
    });
    asked.once('timeout', () => end(false));
    asked.on('error', () => end(false));
    asked.end();
  });
}
