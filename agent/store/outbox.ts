/**
 * What the agent learns while it runs versions, written in order and behind the request path: a wake must not wait for
 * Postgres, and while Postgres is away nothing is lost up to a bound.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { AppStore, Progress } from './app-store.ts';

export interface Outbox {
  add(progress: Progress): void;
  /** What waits to be written. */
  readonly size: number;
  /** Resolves when everything added so far is written; rejects when `signal` aborts first. */
  flushed(signal: AbortSignal): Promise<void>;
  /** Takes no more, and writes what waits unless Postgres is away. */
  close(): Promise<void>;
}

interface OutboxDeps {
  readonly store: Pick<AppStore, 'record'>;
  readonly epoch: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Another agent leads: nothing more will be written. */
  readonly onFenced: (error: AppError) => void;
  readonly maxItems?: number;
  readonly retryMs?: number;
  /** Longest time for what waits when the agent stops; the statement under way comes on top. */
  readonly closeMs?: number;
}

export function createOutbox(deps: OutboxDeps): Outbox {
  const { store, epoch, clock, log, onFenced, maxItems = 10_000, retryMs = 500, closeMs = 3_000 } = deps;
  const items: Progress[] = [];
  const idleListeners = new Set<() => void>();
  let running: Promise<void> | undefined;
  let closed = false;
  let givenUp = false;
  let wakeUp: (() => void) | undefined;

  async function run(): Promise<void> {
    while (items.length > 0 && !givenUp) {
      const item = items[0];
      if (!item) break;
      try {
        await store.record(epoch, item);
        items.shift();
      } catch (error) {
        const appError = toAppError(error);
        if (appError.code === 'fenced') {
          items.length = 0;
          onFenced(appError);
        } else if (appError.code === 'store_unavailable') {
          if (closed) givenUp = true;
          else await pause();
        } else {
          // Not a matter of time: trying again would block everything behind it.
          log.error({ err: error, app: item.app }, 'a record could not be written and is dropped');
          items.shift();
        }
      }
    }
    running = undefined;
    for (const listener of idleListeners) listener();
  }

  function pause(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = clock.after(retryMs, resolve);
      wakeUp = () => {
        cancel();
        resolve();
      };
    });
  }

  return {
    add(progress) {
      if (closed) return;
      if (items.length >= maxItems) {
        // Pointers and outcomes matter more than history: the oldest mere event goes first. Index 0 may be on its way.
        const index = items.findIndex((item, i) => i > 0 && !item.pointers && !item.version);
        items.splice(Math.max(index, 1), 1);
        log.warn({ app: progress.app }, 'Postgres is away for long: an event is dropped');
      }
      items.push(progress);
      running ??= run();
    },
    get size() {
      return items.length;
    },
    flushed(signal) {
      if (!running) return Promise.resolve();
      return new Promise((resolve, reject) => {
        const done = (): void => {
          idleListeners.delete(done);
          signal.removeEventListener('abort', aborted);
          if (items.length === 0) resolve();
          else reject(new AppError('store_unavailable', 'the agent stops before everything is written'));
        };
        const aborted = (): void => {
          idleListeners.delete(done);
          reject(toAppError(signal.reason));
        };
        idleListeners.add(done);
        signal.addEventListener('abort', aborted, { once: true });
        if (signal.aborted) aborted();
      });
    },
    async close() {
      closed = true;
      wakeUp?.();
      const cancel = clock.after(closeMs, () => {
        givenUp = true;
      });
      await running;
      cancel();
      if (items.length > 0) log.warn({ records: items.length }, 'records were not written: Postgres is away or slow');
    },
  };
}
