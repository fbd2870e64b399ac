/** What users see of builds: those under way in this process first, then the records of all. */
import { AppError } from '../../shared/errors.ts';
import type { BuildView } from '../../shared/protocol/views.ts';
import type { BuildRecord, BuildStore } from '../store/build-store.ts';
import { newestFirst, type BuildRecords } from './build-records.ts';
import type { Images } from './images.ts';
import type { ImageOrders } from './orders.ts';

interface BuildViewsDeps {
  readonly orders: Pick<ImageOrders, 'underWay' | 'build' | 'decided'>;
  readonly records: Pick<BuildRecords, 'waiting'>;
  readonly store: Pick<BuildStore, 'list' | 'find'>;
}

export function createBuildViews({ orders, records, store }: BuildViewsDeps): Pick<Images, 'builds' | 'logs'> {
  async function recordOf(app: string, version: number | undefined): Promise<BuildRecord> {
    const isIt = (one: BuildRecord): boolean => one.app === app && (version === undefined || one.version === version);
    const record = records.waiting.find(isIt) ?? (await store.find(app, version));
    if (record) return record;
    const which = version === undefined ? app : `version ${version} of ${app}`;
    throw new AppError('build_not_found', `no image was built for ${which}`);
  }

  return {
    async builds({ app, limit }) {
      const stored = await store.list({ app, limit });
      const waiting = records.waiting.filter((one) => app === undefined || one.app === app);
      // The first of a tag is the most recent.
      const byTag = new Map<string, BuildView>();
      for (const build of [...[...orders.underWay(app), ...waiting].map(viewOf), ...stored]) {
        if (!byTag.has(build.tag)) byTag.set(build.tag, build);
      }
      return newestFirst([...byTag.values()]).slice(0, limit);
    },

    async logs({ app, version, tail, follow }, emit, signal) {
      // A follower means the build that is about to begin, not the one before.
      if (follow) await orders.decided(app, version, signal);
      const [newest] = orders.underWay(app, version);
      const build = newest && orders.build(newest.tag);
      if (newest && build) {
        const { tag } = build;
        const lines = follow ? build.log.follow(tail, signal) : build.log.last(tail);
        for await (const line of lines) await emit({ tag, line });
        signal.throwIfAborted();
        return viewOf(build.record ?? newest);
      }
      const record = await recordOf(app, version);
      for (const line of tail === 0 ? [] : record.logs.slice(-tail)) await emit({ tag: record.tag, line });
      return viewOf(record);
    },
  };
}

function viewOf({ logs: _logs, ...view }: BuildRecord): BuildView {
  return view;
}
