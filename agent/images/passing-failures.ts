/** Failures that pass are tried again for a while; the others are told at once. */
import { backoff } from '../../shared/wait/backoff.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { AppError, toAppError, type ErrorCode } from '../../shared/errors.ts';
import { sleep } from '../../shared/wait/sleep.ts';

const passing: ReadonlySet<ErrorCode> = new Set(['registry_unavailable', 'builder_unavailable', 'source_unavailable']);
const pauses = { minMs: 500, maxMs: 10_000 };

interface Retrying {
  readonly clock: Clock;
  /** From the first failure on. */
  readonly retryMs: number;
  readonly signal: AbortSignal;
  readonly onRetry: (error: AppError, leftMs: number) => void;
}

/** @throws AppError: what does not pass, or what has not passed in time, saying so; the signal's reason. */
export async function untilItPasses<T>(
  { clock, retryMs, signal, onRetry }: Retrying,
  work: () => Promise<T>,
): Promise<T> {
  const pause = backoff(pauses);
  let deadlineMs: number | undefined;
  for (let attempts = 1; ; attempts += 1) {
    try {
      return await work();
    } catch (thrown) {
      signal.throwIfAborted();
      const error = toAppError(thrown);
      if (!passing.has(error.code)) throw error;
      deadlineMs ??= clock.nowMs() + retryMs;
      const leftMs = deadlineMs - clock.nowMs();
      if (leftMs <= 0) throw attempts === 1 ? error : lasted(error, attempts, retryMs);
      onRetry(error, leftMs);
      // The last attempt is made when the time is over, not before.
      await sleep(clock, Math.min(pause.next(), leftMs), signal);
      signal.throwIfAborted();
    }
  }
}

function lasted(error: AppError, attempts: number, retryMs: number): AppError {
  const { code, message, phase, data } = error;
  return new AppError(code, `${message} (tried ${attempts} times in ${Math.round(retryMs / 1_000)} s)`, {
    cause: error,
    ...(phase === undefined ? {} : { phase }),
    ...(data === undefined ? {} : { data }),
  });
}
