/**
 * What is learnt of builds, on its way to Postgres: behind the builds, which neither wait for it nor fail with it. Of each
 * build only the newest state waits, so that what waits is bounded however long Postgres is away.
 */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { BuildView } from '../../shared/protocol/views.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { BuildRecord, BuildStore } from '../store/build-store.ts';

export interface BuildRecords {
  save(record: BuildRecord): void;
  want(app: string, version: number, tag: string): void;
  /** What is not in Postgres yet, newest first. */
  readonly waiting: readonly BuildRecord[];
  /** Another agent leads: it writes from now on. */
  drop(): void;
  /** Writes what waits, unless Postgres is away. */
  close(): Promise<void>;
}

interface BuildRecordsDeps {
  readonly store: Pick<BuildStore, 'save' | 'want'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly maxWaiting?: number;
  readonly retryMs?: number;
}

interface Item {
  readonly record?: BuildRecord;
  readonly write: () => Promise<void>;
}

export function createBuildRecords(deps: BuildRecordsDeps): BuildRecords {
  const { store, clock, log, maxWaiting = 1_000, retryMs = 1_000 } = deps;
  /** In order; a newer state takes the place of the older one of the same build. */
  const items = new Map<string, Item>();
  const closing = new AbortController();
  let running: Promise<void> | undefined;

  function add(key: string, item: Item): void {
    if (closing.signal.aborted) return;
    if (!items.has(key) && items.size >= maxWaiting) {
      const [oldest] = items.keys();
      if (oldest !== undefined) items.delete(oldest);
      log.warn({ records: items.size }, 'Postgres is away for long: the record of a build is dropped');
    }
    items.set(key, item);
    running ??= run();
  }

  async function run(): Promise<void> {
    for (;;) {
      const [next] = items;
      if (!next) break;
      const [key, item] = next;
      const done = (): void => {
        // A newer state may have come meanwhile.
        if (items.get(key) === item) items.delete(key);
      };
      try {
        await item.write();
        done();
      } catch (thrown) {
        const error = toAppError(thrown);
        if (error.code !== 'store_unavailable') {
          log.error({ err: thrown, record: key }, 'the record of a build could not be written and is dropped');
          done();
        } else if (closing.signal.aborted) {
          break;
        } else {
          await sleep(clock, retryMs, closing.signal);
        }
      }
    }
    running = undefined;
  }

  return {
    save(record) {
      add(`build ${record.tag}`, { record, write: () => store.save(record) });
    },
    want(app, version, tag) {
      add(`want ${app} v${version}`, { write: () => store.want(app, version, tag) });
    },
    get waiting() {
      return newestFirst([...items.values()].flatMap(({ record }) => (record ? [record] : [])));
    },
    drop() {
      // What has ended, has: only what goes on is another agent's to tell.
      for (const [key, { record }] of items) if (record?.endedAt === null) items.delete(key);
    },
    async close() {
      closing.abort();
      await running;
      if (items.size > 0) log.warn({ records: items.size }, 'records of builds were not written: Postgres is away');
    },
  };
}

export function newestFirst<B extends BuildView>(builds: readonly B[]): B[] {
  return builds.toSorted((a, b) => (a.queuedAt < b.queuedAt ? 1 : -1));
}
