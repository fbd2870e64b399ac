/** One at a time, in the order of asking: for everything, or for each key. */
import { Semaphore, type Place, type SemaphoreOptions } from './semaphore.ts';

/** The bound of the queue, and the error for who finds it full. */
export type MutexOptions = Pick<SemaphoreOptions, 'maxWaiting' | 'full'>;

export type Mutex = ReturnType<typeof createMutex>;

export function createMutex(options: MutexOptions = {}) {
  const semaphore = new Semaphore({ places: 1, ...options });
  return {
    /** Runs the work alone. @throws the signal's reason while it waits; what the work throws. */
    run: <T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> => semaphore.run({ signal }, work),
    /** Waits until the mutex is free; disposing the place frees it. @throws the signal's reason. */
    acquire: (signal: AbortSignal): Promise<Place> => semaphore.acquire({ signal }),
    /** Resolves when nobody holds it or waits for it. */
    idle: (): Promise<void> => semaphore.idle(),
  };
}

/** Nothing is kept for a key that nobody holds or waits for. */
export function createKeyedMutex(options: MutexOptions = {}) {
  const semaphore = new Semaphore({ places: Infinity, placesPerKey: 1, ...options });
  return {
    /** Runs the work alone among those of its key. @throws the signal's reason while it waits; what the work throws. */
    run: <T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> =>
      semaphore.run({ key, signal }, work),
    /** Resolves when no key is held or waited for. */
    idle: (): Promise<void> => semaphore.idle(),
  };
}
