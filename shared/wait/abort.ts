/** Waits that an AbortSignal ends, and that leave no listener behind. */
import { addAbortListener } from 'node:events';
import { AppError } from '../errors.ts';
import type { Clock } from './clock.ts';

/**
 * Calls `fn` once, when the signal aborts; at once if it has aborted already. Disposing takes `fn` back:
 * `using _listener = onAbort(signal, leave)`.
 */
export function onAbort(signal: AbortSignal, fn: () => void): Disposable {
  if (!signal.aborted) return addAbortListener(signal, () => fn());
  fn();
  return { [Symbol.dispose]: () => undefined };
}

/**
 * The outcome of a promise that somebody else owns. Leaving the wait does not end the work, and a later failure of the
 * work is no unhandled rejection.
 * @throws what the promise rejects with; the signal's reason, also when both have happened already.
 */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: outcome, resolve, reject } = Promise.withResolvers<T>();
  using _listener = onAbort(signal, () => reject(signal.reason));
  promise.then(resolve, reject);
  return await outcome;
}

/** Resolves when the signal aborts. The listener stays until then: use it for signals that end with their owner. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => void onAbort(signal, resolve));
}

/** Why the signal aborted, as an AppError: its reason where that is one, else cancelled with the reason as cause. */
export function cancellation(signal: AbortSignal): AppError {
  const { reason } = signal as { readonly reason: unknown };
  return reason instanceof AppError
    ? reason
    : new AppError('cancelled', 'the caller no longer waits', { cause: reason });
}

/** A signal with an end. Dispose it when the work is over: that stops the timer and forgets the outer signal. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal;
  /** True when the time ran out, and not the outer signal. */
  readonly expired: boolean;
}

export interface DeadlineOptions {
  readonly clock: Clock;
  readonly ms: number;
  /** The outer signal. Its reason is passed on. */
  readonly signal: AbortSignal;
  /** Makes the reason for when the time is over; without it AppError deadline_exceeded. */
  readonly reason?: () => unknown;
}

/** A signal that aborts with the outer one, or after `ms` on the clock. */
export function deadlineSignal(options: DeadlineOptions): Deadline {
  const { clock, ms, signal, reason = () => new AppError('deadline_exceeded', `not within ${ms} ms`) } = options;
  const controller = new AbortController();
  let expired = false;
  const stopTimer = clock.after(ms, () => {
    if (controller.signal.aborted) return;
    expired = true;
    controller.abort(reason());
  });
  const listener = onAbort(signal, () => {
    stopTimer();
    controller.abort(signal.reason);
  });
  return {
    signal: controller.signal,
    get expired() {
      return expired;
    },
    [Symbol.dispose]() {
      stopTimer();
      listener[Symbol.dispose]();
    },
  };
}

/**
 * Runs work that must end by a deadline. It returns only when the work has ended, so the work has to look at its signal.
 * @throws what the work throws.
 */
export async function withDeadline<T>(options: DeadlineOptions, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  using deadline = deadlineSignal(options);
  return await work(deadline.signal);
}
