/**
 * Probes a pod at its own address many times a second, from the moment the address is known: a held call is then released
 * when the app answers, without waiting for the kubelet's one-second probes and what follows them.
 */
import type { Clock } from '../../../../shared/wait/clock.ts';
import { probeOnce } from '../../probe.ts';
import { Probing } from '../../probing.ts';

export interface ProbeAddress {
  readonly host: string;
  readonly port: number;
  /** `health_url`; if undefined an open port is enough. */
  readonly healthPath: string | undefined;
  /** The protocol of the probe; undefined: HTTP/1.1. */
  readonly protocol?: 'h2c' | undefined;
}

const probeTimeoutMs = 2_000;

export function createProber(deps: {
  readonly clock: Clock;
  /** Replaced in tests. */
  readonly probe?: (address: ProbeAddress, signal: AbortSignal) => Promise<boolean>;
}) {
  const probe = deps.probe ?? ((address, signal) => probeOnce({ ...address, timeoutMs: probeTimeoutMs }, signal));
  const probing = new Probing(deps.clock);
  const stop = new AbortController();
  const watches = new Set<Promise<void>>();

  async function watch(address: ProbeAddress, signal: AbortSignal, onAnswer: () => void): Promise<void> {
    const answered = await probing.untilAnswered(async () => (await probe(address, signal)) || undefined, signal);
    if (answered) onAnswer();
  }

  return {
    /** Probes until an answer arrives, then calls `onAnswer` once. @returns what ends the probing. */
    watch(address: ProbeAddress, onAnswer: () => void): () => void {
      const ended = new AbortController();
      const signal = AbortSignal.any([ended.signal, stop.signal]);
      const running: Promise<void> = watch(address, signal, onAnswer).finally(() => watches.delete(running));
      watches.add(running);
      return () => ended.abort();
    },
    /** Sends one probe. @returns whether it was answered. */
    once: (address: ProbeAddress, signal: AbortSignal) => probe(address, AbortSignal.any([signal, stop.signal])),
    /** Ends all probes and waits for their end. */
    async close(): Promise<void> {
      stop.abort();
      await Promise.all(watches);
    },
  };
}

export type Prober = ReturnType<typeof createProber>;
