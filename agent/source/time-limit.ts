/** A signal that also ends after a time. */
import type { Clock } from '../../shared/wait/clock.ts';
import type { AppError } from '../../shared/errors.ts';

/** Runs the work with a signal that aborts with `signal`, or with the error after `ms`. */
export async function withTimeLimit<T>(
  options: { readonly clock: Clock; readonly ms: number; readonly signal: AbortSignal; readonly error: () => AppError },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = new AbortController();
  const takeBack = options.clock.after(options.ms, () => late.abort(options.error()));
  try {
    return await work(AbortSignal.any([options.signal, late.signal]));
  } finally {
    takeBack();
  }
}
