/**
 * Asks about the pods of a start what no watch tells, now and then: whether a node is on its way for a pod that has none, and where an app
 * that does not answer says that it listens.
 */
import type { Clock } from '../../../../shared/wait/clock.ts';
import { sleep } from '../../../../shared/wait/sleep.ts';
import { isLoopback, listenerInLine, mayServe, type Listener } from '../../listening.ts';
import type { PodFacts } from '../picture/facts.ts';
import type { PodReports } from './pod-reports.ts';
import type { Prober } from './probe.ts';

/** Where an app says that it listens, which is not where it is called. */
export interface Elsewhere {
  readonly listener: Listener;
  /** The app has said nothing since, and it serves HTTP there as far as that can be seen from outside. */
  readonly isCertain: boolean;
  /** Changes when the app says more: then it is still at work. */
  readonly signature: string;
}

/** What was found about a pod. */
export interface Finding {
  /** What announces a node for the pod. */
  readonly scaleUp?: string | undefined;
  readonly elsewhere?: Elsewhere | undefined;
}

export interface InquiryDeps {
  readonly reports: Pick<PodReports, 'lastLines' | 'scaleUp'>;
  readonly prober: Pick<Prober, 'once'>;
  readonly clock: Clock;
  /** The pods that are asked about. */
  readonly pods: () => readonly PodFacts[];
  readonly onChange: () => void;
}

/** Most apps answer before anything is asked about them. */
const firstMs = 2_000;
const everyMs = 2_000;

export class Inquiry {
  readonly #deps: InquiryDeps;
  readonly #findings = new Map<string, Finding>();

  constructor(deps: InquiryDeps) {
    this.#deps = deps;
  }

  of(pod: PodFacts): Finding | undefined {
    return this.#findings.get(pod.uid);
  }

  /** Ends with the signal. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, pods, onChange } = this.#deps;
    await sleep(clock, firstMs, signal);
    while (!signal.aborted) {
      for (const pod of pods()) {
        if (signal.aborted) return;
        const finding = await this.#ask(pod, signal);
        if (finding !== undefined) this.#findings.set(pod.uid, finding);
      }
      onChange();
      await sleep(clock, everyMs, signal);
    }
  }

  async #ask(pod: PodFacts, signal: AbortSignal): Promise<Finding | undefined> {
    const { reports } = this.#deps;
    if (!pod.scheduled)
      return pod.unschedulable === undefined ? undefined : { scaleUp: await reports.scaleUp(pod, signal) };
    return pod.running ? { elsewhere: await this.#elsewhere(pod, signal) } : undefined;
  }

  async #elsewhere(pod: PodFacts, signal: AbortSignal): Promise<Elsewhere | undefined> {
    const { reports, prober } = this.#deps;
    const lines = await reports.lastLines(pod, signal);
    const listener = lines.map(listenerInLine).findLast((found) => found !== undefined);
    if (listener === undefined || (listener.port === pod.port && !isLoopback(listener))) return undefined;
    // What listens on loopback cannot be seen from here.
    const isSeen =
      isLoopback(listener) ||
      (pod.ip !== undefined && (await prober.once({ host: pod.ip, port: listener.port, wants: 'answer' }, signal)));
    const isCertain = mayServe(listener) && isSeen;
    return { listener, isCertain, signature: `${String(lines.length)} ${lines.at(-1) ?? ''}` };
  }
}
