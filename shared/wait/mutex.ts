/** One at a time, in the order of asking: for everything, or for each key. */
import { Semaphore, type Place, type SemaphoreOptions } from './semaphore.ts';

/** The bound of the queue, and the error for who finds it full. */
export type MutexOptions = Pick<SemaphoreOptions, 'maxWaiting' | 'full'>;

export interface Mutex {
  /** Runs the work alone. @throws the signal's reason while it waits; what the work throws. */
  run<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T>;
  /** Waits until the mutex is free; disposing the place frees it. @throws the signal's reason. */
  acquire(signal: AbortSignal): Promise<Place>;
  /** Resolves when nobody holds it or waits for it. */
  idle(): Promise<void>;
}

export interface KeyedMutex {
  /** Runs the work alone among those of its key. @throws the signal's reason while it waits; what the work throws. */
  run<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T>;
  /** Resolves when no key is held or waited for. */
  idle(): Promise<void>;
}

export function createMutex(options: MutexOptions = {}): Mutex {
  const semaphore = new Semaphore({ places: 1, ...options });
  return {
    run: (signal, work) => semaphore.run({ signal }, work),
    acquire: (signal) => semaphore.acquire({ signal }),
    idle: () => semaphore.idle(),
  };
}

/** Nothing is kept for a key that nobody holds or waits for. */
export function createKeyedMutex(options: MutexOptions = {}): KeyedMutex {
  const semaphore = new Semaphore({ places: Infinity, placesPerKey: 1, ...options });
  return {
    run: (key, signal, work) => semaphore.run({ key, signal }, work),
    idle: () => semaphore.idle(),
  };
}
