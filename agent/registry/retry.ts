/** The one policy of trying again what fails in passing: connections, 5xx, 429. Everything else has one attempt. */
import { backoff } from '../../shared/wait/backoff.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

const maxAttempts = 4;
const minPauseMs = 100;
const maxPauseMs = 1_000;

/** How an attempt ended that may end otherwise next time. */
export interface Passing<T> {
  /** What the last attempt gives to the caller; thrown where it is an error of the connection. */
  readonly outcome: { readonly value: T } | { readonly error: unknown };
  /** From Retry-After. */
  readonly pauseMs?: number | undefined;
}

export type Attempt<T> = { readonly done: T } | { readonly passing: Passing<T> };

/**
 * @param budgetMs no pause ends later than this.
 * @param attempt rejects for what does not pass.
 */
export async function retrying<T>(
  deps: { readonly clock: Clock; readonly budgetMs: number; readonly signal: AbortSignal },
  attempt: () => Promise<Attempt<T>>,
): Promise<T> {
  const { clock, budgetMs, signal } = deps;
  const beganMs = clock.nowMs();
  const pauses = backoff({ minMs: minPauseMs, maxMs: maxPauseMs });
  for (let count = 1; ; count += 1) {
    const result = await attempt();
    if ('done' in result) return result.done;
    const { outcome, pauseMs } = result.passing;
    const pause = Math.max(pauses.next(), pauseMs ?? 0);
    const isLate = clock.nowMs() - beganMs + pause >= budgetMs;
    if (count === maxAttempts || isLate || signal.aborted) {
      if ('error' in outcome) throw outcome.error;
      return outcome.value;
    }
    await sleep(clock, pause, signal);
    signal.throwIfAborted();
  }
}

export function isPassingStatus(status: number): boolean {
  return status === 429 || status >= 500;
}

/** RFC 9110 §10.2.3, in seconds; dates are not read. */
export function retryAfterMs(header: string): number | undefined {
  return /^\d{1,6}$/.test(header) ? Number(header) * 1_000 : undefined;
}
