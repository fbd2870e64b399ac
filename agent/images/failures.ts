/** Failures of builds: which are tried again, in which phase they were, and the last lines of the build with them. */
import type { ErrorCode } from '../../shared/error-codes.ts';
import { toAppError, type AppError, type FailurePhase } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { retry } from '../../shared/wait/retry.ts';
import { logLinesOf } from '../store/records.ts';
import type { BuildLog } from './build-log.ts';

const passing: ReadonlySet<ErrorCode> = new Set(['registry_unavailable', 'builder_unavailable', 'source_unavailable']);
const pauses = { minMs: 500, maxMs: 10_000 };
const shownLines = 50;

export interface RetryPassingOptions {
  readonly clock: Clock;
  /** How long to try again, from the first failure on. */
  readonly retryMs: number;
  readonly signal: AbortSignal;
  readonly onRetry: (error: AppError) => void;
}

/**
 * Repeats work while registry, builder or git server are unavailable. The last attempt is made when the time is over.
 * @throws AppError: the first that does not pass; the last one, with the number of attempts in its message; the signal's reason.
 */
export async function retryPassing<T>(options: RetryPassingOptions, work: () => Promise<T>): Promise<T> {
  const { clock, retryMs, signal, onRetry } = options;
  return await retry(
    async () => {
      try {
        return await work();
      } catch (error) {
        throw toAppError(error);
      }
    },
    {
      clock,
      signal,
      backoff: pauses,
      retryForMs: retryMs,
      isPassing: (error) => passing.has(toAppError(error).code),
      onRetry: ({ error }) => onRetry(toAppError(error)),
      exhausted: (error, attempts) => (attempts === 1 ? error : lasted(toAppError(error), attempts, retryMs)),
    },
  );
}

function lasted(error: AppError, attempts: number, retryMs: number): AppError {
  const message = `${error.message} (tried ${attempts} times in ${Math.round(retryMs / 1_000)} s)`;
  return error.with({ message, retryAfterMs: undefined });
}

/** Adds the last lines of the build, unless the builder gave some itself. */
export function withLines(error: AppError, log: Pick<BuildLog, 'last'>): AppError {
  const given = logLinesOf(error);
  const logs = given.length > 0 ? given.slice(-shownLines) : log.last(shownLines);
  return error.with({ phase: error.phase ?? 'build', data: { ...error.data, logs } });
}

/** Runs work. @throws what it throws, as an AppError of this phase unless it names another one. */
export async function inPhase<T>(phase: FailurePhase, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    const error = toAppError(thrown);
    if (error.phase !== undefined || error.code === 'cancelled') throw error;
    throw error.with({ phase });
  }
}
