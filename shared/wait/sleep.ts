/** A pause that its owner can end. */
import { onAbort } from './abort.ts';
import type { Clock } from './clock.ts';

/** Resolves after `ms`, or at once when the signal aborts. It never rejects: the caller looks at the signal. */
export async function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const stopTimer = clock.after(ms, resolve);
  using _listener = onAbort(signal, resolve);
  await promise;
  stopTimer();
}
