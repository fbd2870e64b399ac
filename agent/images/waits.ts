/** Waits that end with a signal. */
import { toAppError, type AppError } from '../../shared/errors.ts';

/** Resolves to the reason when the signal aborts. */
export function abortOf(signal: AbortSignal): Promise<AppError> {
  return new Promise((resolve) => {
    const tell = (): void => resolve(toAppError(signal.reason));
    if (signal.aborted) tell();
    else signal.addEventListener('abort', tell, { once: true });
  });
}

/** Resolves when the work has ended. @throws AppError the signal's reason. */
export async function settledOrAborted(settled: Promise<void>, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const leave = (): void => reject(toAppError(signal.reason));
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  // The work is not ours to end.
  settled.then(resolve, reject);
  try {
    await promise;
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
