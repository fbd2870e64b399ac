/** Whose build is next: some at a time, the apps in turn, first come first served within an app. Bounded. */
import { AppError } from '../../shared/errors.ts';

export interface Turn {
  readonly app: string;
  /** Takes the place in the queue back. */
  readonly signal: AbortSignal;
  /** Told on every change; 1 is the next one. */
  readonly onPosition: (position: number, queued: number) => void;
  /** What is going on already is counted and does not wait. */
  readonly atOnce?: boolean;
}

export interface Scheduler {
  readonly running: number;
  readonly queued: number;
  /**
   * Resolves when it is the caller's turn, with the function that ends it.
   * @throws AppError build_queue_full; the signal's reason.
   */
  turn(turn: Turn): Promise<() => void>;
}

interface Waiter extends Turn {
  readonly grant: (end: () => void) => void;
  told: string;
}

/** A guess at how long a build takes. */
const retryAfterMs = 10_000;

export function createScheduler(limits: { readonly maxRunning: number; readonly maxQueued: number }): Scheduler {
  const { maxRunning, maxQueued } = limits;
  /** By app; the order of the apps is the order of their turns. None is empty. */
  const queues = new Map<string, Waiter[]>();
  let running = 0;
  let queued = 0;

  function begin(): () => void {
    running += 1;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      running -= 1;
      advance();
    };
  }

  function advance(): void {
    while (running < maxRunning) {
      const next = shift();
      if (!next) break;
      next.grant(begin());
    }
    tell();
  }

  function shift(): Waiter | undefined {
    for (const [app, waiters] of queues) {
      const next = waiters.shift();
      queues.delete(app);
      if (waiters.length > 0) queues.set(app, waiters); // behind the others
      queued -= 1;
      return next;
    }
    return undefined;
  }

  function remove(waiter: Waiter): void {
    const waiters = queues.get(waiter.app);
    const index = waiters?.indexOf(waiter) ?? -1;
    if (!waiters || index < 0) return;
    waiters.splice(index, 1);
    if (waiters.length === 0) queues.delete(waiter.app);
    queued -= 1;
    tell();
  }

  /** In the order in which they would be served if nobody else came. */
  function tell(): void {
    let position = 0;
    for (let round = 0; position < queued; round += 1) {
      for (const waiters of queues.values()) {
        const waiter = waiters[round];
        if (!waiter) continue;
        position += 1;
        const told = `${position} of ${queued}`;
        if (waiter.told === told) continue;
        waiter.told = told;
        waiter.onPosition(position, queued);
      }
    }
  }

  return {
    get running() {
      return running;
    },
    get queued() {
      return queued;
    },
    async turn(turn) {
      const { app, signal } = turn;
      signal.throwIfAborted();
      if (turn.atOnce === true || running < maxRunning) return begin();
      if (queued >= maxQueued) {
        throw new AppError('build_queue_full', `${queued} builds wait for their turn already, no more may`, {
          phase: 'build',
          retryAfterMs,
        });
      }
      const { promise, resolve, reject } = Promise.withResolvers<() => void>();
      const waiter: Waiter = { ...turn, grant: resolve, told: '' };
      const leave = (): void => {
        remove(waiter);
        reject(signal.reason as Error);
      };
      queues.set(app, [...(queues.get(app) ?? []), waiter]);
      queued += 1;
      signal.addEventListener('abort', leave, { once: true });
      tell();
      try {
        return await promise;
      } finally {
        signal.removeEventListener('abort', leave);
      }
    },
  };
}
