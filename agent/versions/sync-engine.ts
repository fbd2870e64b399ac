/** The engine of this leader, as syncing needs it. */
import type { Outbox } from '../store/outbox.ts';
import type { AppRecord } from '../store/records.ts';
import type { Engine } from './engine.ts';
import type { SyncApp, SyncEngine } from '../source/sync.ts';

export function createSyncEngine(deps: {
  readonly engine: Pick<Engine, 'machine' | 'machines' | 'repin'>;
  readonly outbox: Pick<Outbox, 'add'>;
}): SyncEngine {
  const { engine, outbox } = deps;
  return {
    apps: () => engine.machines().flatMap(({ record }) => toSyncApp(record) ?? []),
    app(name) {
      const { record } = engine.machine(name);
      const app = toSyncApp(record);
      if (app === undefined) throw new Error(`no version of ${name} is loaded`);
      return app;
    },
    repin: (app, actor) => engine.repin(app, actor),
    record: (event) => {
      if (event.app !== null) outbox.add({ app: event.app, events: [event] });
    },
  };
}

function toSyncApp({ name, versions, live, pending, latest }: AppRecord): SyncApp | undefined {
  const current = versions.get(pending ?? live);
  if (current === undefined) return undefined;
  return {
    name,
    spec: current.spec,
    digests: [current.sourceDigest, versions.get(latest)?.sourceDigest ?? null],
  };
}
