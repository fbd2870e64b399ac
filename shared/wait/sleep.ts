/** A pause that its owner can end. */
import type { Clock } from './clock.ts';

/** Resolves after `ms`, or at once when the signal aborts: the caller looks at the signal. */
export async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const takeBack = clock.after(ms, resolve);
  const onAbort = (): void => resolve();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    await promise;
  } finally {
    takeBack();
    signal.removeEventListener('abort', onAbort);
  }
}
