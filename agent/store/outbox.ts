/**
 * Writes what the agent learns while it runs versions, behind the request path and in order, because a wake must not wait for Postgres. While
 * Postgres is away nothing is lost, up to a bound.
 */
import { type AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { WriteBehind, type WriteFailure } from '../../shared/wait/write-behind.ts';
import type { AppStore, Progress } from './app-store.ts';

interface OutboxDeps {
  readonly store: Pick<AppStore, 'record'>;
  readonly epoch: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when another agent leads: nothing more will be written. */
  readonly onFenced: (error: AppError) => void;
  readonly maxItems?: number;
}

const retryMs = 500;
const closeMs = 3_000;

export function createOutbox({ store, epoch, clock, log, onFenced, maxItems = 10_000 }: OutboxDeps) {
  const queue = new WriteBehind<Progress>({
    write: (progress) => store.record(epoch, progress),
    failureOf: writeFailureOf,
    clock,
    backoff: { minMs: retryMs, maxMs: retryMs },
    maxItems,
    // Pointers and outcomes matter more than history: the oldest mere event is dropped first.
    victimOf: (queued) =>
      Math.max(
        0,
        queued.findIndex(({ pointers, version }) => !pointers && !version),
      ),
    onDropped: ({ app }, cause) => {
      if ('full' in cause) log.warn({ app }, 'a record was dropped: Postgres is away and the queue is full');
      else log.error({ err: cause.error, app }, 'a record could not be written and was dropped');
    },
    onFenced: (error) => onFenced(toAppError(error)),
    closeMs,
  });
  return {
    add: (progress: Progress) => queue.add(progress),
    /** The number of records that are not written yet. */
    get size() {
      return queue.size;
    },
    /** Resolves when everything added so far is written or dropped. @throws the signal's reason; AppError store_unavailable, fenced. */
    flushed: (signal: AbortSignal) => queue.flushed(signal),
    /** Takes no more records, and writes those that are queued unless Postgres is away. */
    async close(): Promise<void> {
      await queue.close();
      if (queue.size > 0) log.warn({ records: queue.size }, 'records were not written: Postgres is away or slow');
    },
  };
}

export type Outbox = ReturnType<typeof createOutbox>;

/** Whether a write to Postgres that failed may succeed later. */
export function writeFailureOf(error: unknown): WriteFailure {
  const { code } = toAppError(error);
  if (code === 'store_unavailable') return 'passing';
  return code === 'fenced' ? 'fenced' : 'permanent';
}
