/**
 * Probes a pod at its own address many times a second, from the moment the address is known: a held call is then released
 * when the app answers, without waiting for the kubelet's one-second probes and what follows them.
 */
import { probeOnce, type ProbeOutcome } from '../../../../shared/net/http-probe.ts';
import type { Clock } from '../../../../shared/wait/clock.ts';
import { Probing } from '../../probing.ts';
import type { ReadinessProbe } from '../../readiness.ts';

export interface ProbeAddress extends ReadinessProbe {
  readonly host: string;
  readonly port: number;
}

type SendProbe = (
  address: ProbeAddress,
  options: { readonly answerTimeoutMs: number; readonly signal: AbortSignal; readonly onSilence?: () => void },
) => Promise<ProbeOutcome>;

const connectTimeoutMs = 2_000;
/** Bounds the answer to a single probe: held calls wait for it. */
const onceTimeoutMs = 2_000;

export function createProber(deps: {
  readonly clock: Clock;
  /** Replaced in tests. */
  readonly probe?: SendProbe;
}) {
  const probe: SendProbe =
    deps.probe ??
    ((address, { answerTimeoutMs, signal, onSilence }) =>
      probeOnce({ ...address, connectTimeoutMs, answerTimeoutMs }, signal, onSilence));
  const probing = new Probing(deps.clock);
  const stop = new AbortController();
  const watches = new Set<Promise<void>>();

  async function watch(
    address: ProbeAddress,
    signal: AbortSignal,
    onOutcome: (outcome: ProbeOutcome) => void,
  ): Promise<void> {
    const ready = await probing.untilAnswered(async (answerTimeoutMs) => {
      const onSilence = (): void => onOutcome({ kind: 'silent' });
      const outcome = await probe(address, { answerTimeoutMs, signal, onSilence });
      if (outcome.kind === 'ready') return outcome;
      if (!signal.aborted) onOutcome(outcome);
      return undefined;
    }, signal);
    if (ready !== undefined) onOutcome(ready);
  }

  return {
    /**
     * Probes until the pod is ready. @param onOutcome hears the outcome of each probe, at last `ready`, and `silent` as long as an accepted
     * connection has no answer. @returns what ends the probing.
     */
    watch(address: ProbeAddress, onOutcome: (outcome: ProbeOutcome) => void): () => void {
      const ended = new AbortController();
      const signal = AbortSignal.any([ended.signal, stop.signal]);
      const running: Promise<void> = watch(address, signal, onOutcome).finally(() => watches.delete(running));
      watches.add(running);
      return () => ended.abort();
    },
    /** Sends one probe. @returns whether the pod is ready. */
    async once(address: ProbeAddress, signal: AbortSignal): Promise<boolean> {
      const either = AbortSignal.any([signal, stop.signal]);
      const outcome = await probe(address, { answerTimeoutMs: onceTimeoutMs, signal: either });
      return outcome.kind === 'ready';
    },
    /** Ends all probes and waits for their end. */
    async close(): Promise<void> {
      stop.abort();
      await Promise.all(watches);
    },
  };
}

export type Prober = ReturnType<typeof createProber>;
