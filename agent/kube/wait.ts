/** Waits that end by their signal and leave nothing behind. */
import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/wait/clock.ts';

export function cancelled(signal: AbortSignal): AppError {
  const { reason } = signal as { readonly reason: unknown };
  return reason instanceof AppError ? reason : new AppError('cancelled', 'cancelled', { cause: reason });
}

/** The value of a promise that somebody else owns. @throws AppError cancelled when the signal aborts before. */
export async function until<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw cancelled(signal);
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(cancelled(signal));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Waits until `look` returns something, looking again at each change told by `subscribe`, and no later than after the
 * milliseconds it asks for.
 */
export async function watchUntil<T>(options: {
  readonly look: () => { readonly done: T } | { readonly againMs: number };
  readonly subscribe: (listener: () => void) => () => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}): Promise<T> {
  const { look, subscribe, clock, signal } = options;
  let wake = (): void => undefined;
  // Subscribed before the first look, so that no change falls between look and wait.
  let changed = false;
  const unsubscribe = subscribe(() => {
    changed = true;
    wake();
  });
  try {
    for (;;) {
      if (signal.aborted) throw cancelled(signal);
      changed = false;
      const seen = look();
      if ('done' in seen) return seen.done;
      if (changed) continue;
      const { promise, resolve } = Promise.withResolvers<void>();
      wake = resolve;
      signal.addEventListener('abort', wake, { once: true });
      const takeBack = clock.after(seen.againMs, resolve);
      try {
        await promise;
      } finally {
        takeBack();
        signal.removeEventListener('abort', wake);
      }
    }
  } finally {
    unsubscribe();
  }
}
