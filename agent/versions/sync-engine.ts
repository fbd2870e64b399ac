/** Adapts the engine of this leader to what syncing needs. */
import type { LiveEngine } from '../source/live-folders.ts';
import type { SyncApp, SyncEngine } from '../source/sync.ts';
import type { Outbox } from '../store/outbox.ts';
import { declaredVersion, type AppRecord } from '../store/records.ts';
import type { Engine } from './engine.ts';

export function createSyncEngine(deps: {
  readonly engine: Pick<Engine, 'machine' | 'machines' | 'repin' | 'repinIfNew'>;
  readonly outbox: Pick<Outbox, 'add'>;
}): SyncEngine & LiveEngine {
  const { engine, outbox } = deps;
  return {
    apps: () => engine.machines().map(({ record }) => toSyncApp(record)),
    app: (name) => toSyncApp(engine.machine(name).record),
    repin: (app, actor) => engine.repin(app, actor),
    repinIfNew: (app, actor) => engine.repinIfNew(app, actor),
    record: (event) => {
      if (event.app !== null) outbox.add({ app: event.app, events: [event] });
    },
  };
}

function toSyncApp(record: AppRecord): SyncApp {
  const { spec, sourceDigest } = declaredVersion(record);
  return { name: record.name, spec, digests: [sourceDigest, record.versions.get(record.latest)?.sourceDigest ?? null] };
}
