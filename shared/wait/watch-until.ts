/** Waits until a look at some state finds what is wanted, looking again at each change, and loses no wake-up. */
import { deadlineSignal, onAbort } from './abort.ts';
import type { Clock } from './clock.ts';

export interface WatchUntilOptions<T> {
  /** Looks at the state. `againMs` asks for another look after that time even if no change is told. It may throw to give up. */
  readonly look: () => { readonly done: T } | { readonly againMs?: number };
  /** Calls the listener at each change. @returns what takes the listener back. */
  readonly subscribe: (listener: () => void) => () => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
  /** Makes the error for when the time is over; without it AppError deadline_exceeded. */
  readonly timedOut?: () => unknown;
}

/** @returns what `look` found. @throws what `look` throws; the signal's reason; the error of the timeout. */
export async function watchUntil<T>(options: WatchUntilOptions<T>): Promise<T> {
  const { look, subscribe, clock, timeoutMs, timedOut } = options;
  using deadline =
    timeoutMs === undefined
      ? undefined
      : deadlineSignal({ clock, ms: timeoutMs, signal: options.signal, ...(timedOut && { reason: timedOut }) });
  const signal = deadline?.signal ?? options.signal;
  signal.throwIfAborted();
  // Subscribed before each look, so a change between the look and the wait has resolved `change` already.
  let change = Promise.withResolvers<void>();
  const wake = (): void => change.resolve();
  const unsubscribe = subscribe(wake);
  try {
    using _listener = onAbort(signal, wake);
    for (;;) {
      signal.throwIfAborted();
      change = Promise.withResolvers();
      const seen = look();
      if ('done' in seen) return seen.done;
      const stopTimer = seen.againMs === undefined ? undefined : clock.after(seen.againMs, wake);
      // The signal may have aborted inside `look`, which calls `wake` as well.
      await change.promise;
      stopTimer?.();
    }
  } finally {
    unsubscribe();
  }
}
