/** Finds out, fast, that an app answers: tries every few milliseconds until it does. */
import { answers } from '../answers.ts';
import type { Asking } from '../asking.ts';

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
}

/** @returns the host that answers; undefined once the signal has aborted. */
export async function hostThatAnswers(probe: Probe, asking: Asking, signal: AbortSignal): Promise<string | undefined> {
  const { hosts, port, healthUrl: healthPath, protocol } = probe;
  return await asking.untilAnswered(async () => {
    for (const host of hosts) {
      if (await answers({ host, port, healthPath, protocol, timeoutMs: tryDeadlineMs }, signal)) return host;
    }
    return undefined;
  }, signal);
}
