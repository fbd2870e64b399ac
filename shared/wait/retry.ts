/** The one policy of trying again: what passes is repeated with growing pauses, up to a bound; the rest is thrown at once. */
import { backoff, type Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';
import { sleep } from './sleep.ts';

export interface Retry {
  readonly error: unknown;
  readonly attempt: number;
  readonly pauseMs: number;
  /** Time that is left before the retries end; Infinity without a bound in time. */
  readonly leftMs: number;
}

export interface RetryOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** The pauses: `minMs` and `maxMs` (equal for a constant pause), or a Backoff that outlives this call. */
  readonly backoff: Backoff | { readonly minMs: number; readonly maxMs: number };
  /** Attempts in all, the first included. */
  readonly attempts?: number;
  /** From the call on: no pause is begun that would end at or after this time. */
  readonly deadlineMs?: number;
  /** From the first failure on: the last pause is cut short, so that the last attempt is made when this time is over. */
  readonly retryForMs?: number;
  readonly isPassing: (error: unknown) => boolean;
  /** The shortest pause that the other side asks for, as in Retry-After. */
  readonly retryAfterMs?: (error: unknown) => number | undefined;
  /** Called before each pause. */
  readonly onRetry?: (retry: Retry) => void;
  /** Makes the error to throw when a bound ends the retries; without it the last error is thrown as it is. */
  readonly exhausted?: (error: unknown, attempts: number) => unknown;
}

/**
 * @param work gets the number of the attempt, from 1.
 * @throws the first error that does not pass; the last error when a bound is reached; the signal's reason once it aborts.
 */
export async function retry<T>(work: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { clock, signal, attempts = Infinity, deadlineMs = Infinity, retryForMs = Infinity } = options;
  const pauses = 'next' in options.backoff ? options.backoff : backoff(options.backoff);
  const endMs = clock.nowMs() + deadlineMs;
  let retryEndMs = Infinity;
  for (let attempt = 1; ; attempt += 1) {
    signal.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      signal.throwIfAborted();
      if (!options.isPassing(error)) throw error;
      const nowMs = clock.nowMs();
      if (attempt === 1) retryEndMs = nowMs + retryForMs;
      const retryLeftMs = retryEndMs - nowMs;
      const pauseMs = Math.min(Math.max(pauses.next(), options.retryAfterMs?.(error) ?? 0), retryLeftMs);
      if (attempt >= attempts || retryLeftMs <= 0 || nowMs + pauseMs >= endMs) {
        throw options.exhausted?.(error, attempt) ?? error;
      }
      options.onRetry?.({ error, attempt, pauseMs, leftMs: Math.min(retryLeftMs, endMs - nowMs) });
      await sleep(clock, pauseMs, signal);
    }
  }
}
