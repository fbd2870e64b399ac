/**
 * Records of builds on their way to Postgres. Builds neither wait for it nor fail with it. Of each build only the newest
 * state is queued, so the queue is bounded however long Postgres is away.
 */
import type { Log } from '../../shared/log.ts';
import type { BuildView } from '../../shared/protocol/views.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { WriteBehind } from '../../shared/wait/write-behind.ts';
import type { BuildRecord, BuildStore } from '../store/build-store.ts';
import { writeFailureOf } from '../store/outbox.ts';

interface BuildRecordsDeps {
  readonly store: Pick<BuildStore, 'save' | 'want'>;
  readonly clock: Clock;
  readonly log: Log;
}

type Item =
  | { readonly record: BuildRecord }
  | { readonly record?: never; readonly app: string; readonly version: number; readonly tag: string };

const maxItems = 1_000;
const retryMs = 1_000;

export function createBuildRecords({ store, clock, log }: BuildRecordsDeps) {
  const items = new WriteBehind<Item>({
    write: (item) => (item.record ? store.save(item.record) : store.want(item.app, item.version, item.tag)),
    failureOf: writeFailureOf,
    clock,
    backoff: { minMs: retryMs, maxMs: retryMs },
    maxItems,
    keyOf,
    onDropped(item, cause) {
      if ('full' in cause) {
        log.warn({ records: maxItems }, 'Postgres has been away too long: the record of a build is dropped');
      } else {
        log.error(
          { err: cause.error, record: keyOf(item) },
          'the record of a build could not be written and is dropped',
        );
      }
    },
  });
  return {
    save: (record: BuildRecord) => items.add({ record }),
    /** Records that a version wants the image of this tag. */
    want: (app: string, version: number, tag: string) => items.add({ app, version, tag }),
    /** The records that are not in Postgres yet, newest first. */
    get waiting() {
      return newestFirst(items.items.flatMap(({ record }) => record ?? []));
    },
    /** Drops records of builds that go on: from now on the new leader writes them. */
    releaseLead: () => items.remove(({ record }) => record?.endedAt === null),
    /** Writes what is queued, unless Postgres is away. */
    async close(): Promise<void> {
      await items.close();
      if (items.size > 0) log.warn({ records: items.size }, 'records of builds were not written: Postgres is away');
    },
  };
}

export type BuildRecords = ReturnType<typeof createBuildRecords>;

function keyOf(item: Item): string {
  return item.record ? `build ${item.record.tag}` : `want ${item.app} v${item.version}`;
}

export function newestFirst<B extends BuildView>(builds: readonly B[]): B[] {
  return builds.toSorted((a, b) => (a.queuedAt < b.queuedAt ? 1 : -1));
}
