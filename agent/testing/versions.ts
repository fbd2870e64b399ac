/** Fixtures for tests of versions and routes: records, and routers that watch and acknowledge. */
import { turns } from '../../shared/wait/testing/until.ts';
import { appConfig, type AppConfig } from '../../shared/protocol/app-config.ts';
import { appSpec, type AppSpecInput } from '../../shared/protocol/app-spec.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import type { RouteHub } from '../routes/hub.ts';
import type { Released } from '../routes/router-links.ts';
import type { AppRecord, VersionRecord } from '../store/records.ts';
import type { VersionMetrics } from '../versions/machine/machine-deps.ts';

export const defaults: AppConfig = appConfig.parse({});

export type SpecInput = Partial<AppSpecInput>;

export function specOf(input: SpecInput = {}): VersionRecord['spec'] {
  return appSpec.parse({ name: 'a', path: '/a', image: 'registry.example/a:1', ...input });
}

export function versionRecord(version: number, more: Partial<VersionRecord> = {}): VersionRecord {
  return {
    version,
    spec: specOf(),
    imageDigest: 'sha256:1',
    sourceDigest: null,
    imageTag: null,
    outcome: 'declared',
    failure: null,
    timings: null,
    createdAt: '2026-01-01T00:00:00.000Z',
    createdBy: 'test',
    ...more,
  };
}

/** An app whose newest version is live. */
export function appRecord(versions: readonly VersionRecord[], more: Partial<AppRecord> = {}): AppRecord {
  const good = versions.filter(({ outcome }) => outcome === 'good').map(({ version }) => version);
  const latest = Math.max(...versions.map(({ version }) => version));
  return {
    name: 'a',
    host: '',
    path: '/a',
    live: latest,
    pending: null,
    good: good.at(-1) ?? null,
    kept: good.at(-2) ?? null,
    generation: 1,
    latest,
    createdAt: '2026-01-01T00:00:00.000Z',
    updatedAt: '2026-01-01T00:00:00.000Z',
    versions: new Map(versions.map((version) => [version.version, version])),
    ...more,
  };
}

export const silentMetrics: VersionMetrics = {
  started: () => undefined,
  startFailed: () => undefined,
  drained: () => undefined,
  wake: () => undefined,
};

/** The answer of routers that have this many calls left. */
export function releasedOf(left: number, more: Partial<Released> = {}): Released {
  return { left, unasked: 0, busy: left > 0, bytes: 0, idleMs: Infinity, ...more };
}

export interface TestRouter {
  /** The current route table. */
  readonly table: ReadonlyMap<string, Route>;
  /** Every route that it received, as `app v1 ready`. */
  readonly history: readonly string[];
  /** While false, items stay unacknowledged until it is set to true. */
  acknowledges: boolean;
  leave(): Promise<void>;
}

/** A router on the hub, in memory. */
export function createTestRouter(hub: RouteHub, name: string, nowMs: () => number): TestRouter {
  const table = new Map<string, Route>();
  const history: string[] = [];
  const link = {};
  const left = new AbortController();
  let heardMs = nowMs();
  let acknowledges = true;
  let lastSeq = 0;
  function acknowledge(): void {
    heardMs = nowMs();
    if (acknowledges) hub.acknowledge(link, lastSeq);
  }
  const done = hub.watch({
    router: name,
    link,
    signal: left.signal,
    lastHeardMs: () => heardMs,
    async emit(item) {
      const upsert = item.kind === 'snapshot' ? item.routes : item.upsert;
      for (const route of upsert) {
        table.set(route.app, route);
        history.push(`${route.app} v${route.version} ${route.serving.state}`);
      }
      if (item.kind === 'delta') for (const app of item.remove) table.delete(app);
      lastSeq = item.seq;
      setImmediate(acknowledge);
    },
  });
  return {
    table,
    history,
    get acknowledges() {
      return acknowledges;
    },
    set acknowledges(value) {
      acknowledges = value;
      acknowledge();
    },
    leave() {
      left.abort();
      return done;
    },
  };
}

/** Whether the promise has settled, once everything that is due has run. */
export async function isDone(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  promise.then(
    () => (done = true),
    () => (done = true),
  );
  await turns();
  return done;
}
