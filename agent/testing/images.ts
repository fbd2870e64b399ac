/** For tests: images with a builder, a registry, sources and records that the test scripts. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { noPin, type VersionRun } from '../platform/platform.ts';
import type { BuildRecord, BuildStore, ImageUse } from '../store/build-store.ts';
import type { NewEvent } from '../store/records.ts';
import { defaults, specOf, type SpecInput } from '../testing/versions.ts';
import type { BuildOptions, Builder, BuildRequest } from '../images/builder.ts';
import { createImages } from '../images/create-images.ts';

export const away = new AppError('registry_unavailable', 'the registry is away', { phase: 'build' });
export const repository = 'registry.example/holdfast/app';
export const digestOf = (tag: string): string => `sha256:${tag.padEnd(64, '0')}`;

interface FakeBuild {
  readonly request: BuildRequest;
  readonly options: BuildOptions;
  /** Pushes the image and resolves. */
  finish(): void;
  fail(error: AppError): void;
}

interface FakeBuilder extends Builder {
  readonly builds: readonly FakeBuild[];
  readonly cancelled: readonly string[];
  underWayTags: string[];
  /** Resolves to the build of this number, from 1, once it has begun. */
  begun(count: number): Promise<FakeBuild>;
}

function createFakeBuilder(pushed: Map<string, string>): FakeBuilder {
  const builds: FakeBuild[] = [];
  const cancelled: string[] = [];
  const waiting = new Set<() => void>();
  const builder: FakeBuilder = {
    kind: 'fake',
    builds,
    cancelled,
    underWayTags: [],
    async begun(count) {
      for (;;) {
        const build = builds[count - 1];
        if (build) return build;
        await new Promise<void>((resolve) => waiting.add(resolve));
      }
    },
    build(request, options) {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      options.signal.addEventListener('abort', () => reject(options.signal.reason as Error), { once: true });
      builds.push({
        request,
        options,
        finish() {
          pushed.set(request.tag, digestOf(request.tag));
          resolve(digestOf(request.tag));
        },
        fail: reject,
      });
      for (const wake of waiting) wake();
      waiting.clear();
      return promise;
    },
    async cancel(tag: string) {
      cancelled.push(tag);
    },
    async underWay() {
      return builder.underWayTags;
    },
    async close() {},
  };
  return builder;
}

/** Records in memory. The SQL is tested on a real Postgres. */
export function createFakeStore() {
  const rows = new Map<string, BuildRecord>();
  const uses: ImageUse[] = [];
  const events: NewEvent[] = [];
  const wants: string[] = [];
  const store = {
    rows,
    usesNow: uses,
    events,
    wants,
    error: undefined as AppError | undefined,
    async save(record: BuildRecord) {
      if (store.error) throw store.error;
      rows.set(record.tag, record);
    },
    async want(app: string, version: number, tag: string) {
      if (store.error) throw store.error;
      wants.push(`${app} v${version} ${tag}`);
    },
    list: async () => [...rows.values()].map(({ logs: _logs, ...view }) => view),
    find: async (app: string) => [...rows.values()].find((row) => row.app === app),
    async unfinished() {
      return [...rows.values()].filter(({ endedAt }) => endedAt === null);
    },
    async digests(tag: string) {
      const built = [...rows.values()].filter((row) => row.tag === tag && row.state === 'succeeded');
      const had = uses.filter((use) => use.tag === tag);
      const digests = [...built.map(({ imageDigest }) => imageDigest), ...had.map(({ digest }) => digest)];
      return new Set(digests.flatMap((digest) => digest ?? []));
    },
    built: async () => [...rows.values()].filter(({ state }) => state === 'succeeded'),
    uses: async () => uses,
    async pruned(tag: string, event: NewEvent) {
      rows.delete(tag);
      events.push(event);
    },
    forget: async () => 0,
  } satisfies BuildStore & Record<string, unknown>;
  return store;
}

export interface GroundOptions {
  readonly maxRunning?: number;
  readonly maxQueued?: number;
  readonly retryMs?: number;
  readonly leads?: boolean;
  /** Without it, records are kept in memory. */
  readonly rows?: BuildStore;
  /** The digests in the registry by tag, so that two agents can share them. */
  readonly pushed?: Map<string, string>;
}

export async function ground(t: TestContext, options: GroundOptions = {}) {
  const { maxRunning = 2, maxQueued = 100, retryMs = 10_000, leads = true } = options;
  const clock = createManualClock();
  /** Digests by tag. */
  const pushed = options.pushed ?? new Map<string, string>();
  const deleted: string[] = [];
  const registry = {
    error: undefined as AppError | undefined,
    looks: 0,
    async exists(image: string) {
      registry.looks += 1;
      if (registry.error) throw registry.error;
      return pushed.get(image.slice(image.lastIndexOf(':') + 1));
    },
    tags: async () => [...pushed.keys()],
    async deleteManifest(_repository: string, digest: string) {
      deleted.push(digest);
      for (const [tag, pushedDigest] of pushed) if (pushedDigest === digest) pushed.delete(tag);
    },
  };
  const folder = await mkdtemp(join(tmpdir(), 'hf-images-'));
  await writeFile(join(folder, 'Dockerfile'), 'FROM scratch\n');
  await writeFile(join(folder, 'server.js'), '');
  t.after(() => rm(folder, { recursive: true }));
  const sources = {
    error: undefined as AppError | undefined,
    onDisk: 0,
    async resolve() {
      return 'git:1';
    },
    /** Gives each digest its own tree. */
    async tree(_spec: unknown, digest: string) {
      if (sources.error) throw sources.error;
      sources.onDisk += 1;
      return { folder, digest: `sha256:tree of ${digest}`, release: () => void (sources.onDisk -= 1) };
    },
  };
  const builder = createFakeBuilder(pushed);
  const store = createFakeStore();
  const ended: string[] = [];
  const images = createImages({
    repository,
    registry,
    sources,
    builder,
    store: options.rows ?? store,
    limits: { maxRunning, maxQueued, retryMs, keepVersions: 2 },
    args: { HTTPS_PROXY: 'http://proxy.example' },
    onEnded: (state) => void ended.push(state),
    clock,
    log: silentLog,
  });
  t.after(() => images.close());
  if (leads) await images.adopt([], new AbortController().signal);

  /** Asks for the image of a version; `leave` gives up. */
  function ask(run: VersionRun) {
    const leave = new AbortController();
    const phases: string[] = [];
    const result = images.ensure(run, {
      signal: leave.signal,
      onPhase: (phase, message) => void phases.push(`${phase}: ${message}`),
    });
    result.catch(() => undefined);
    const superseded = new AppError('superseded', 'a newer version is wanted');
    return { result, phases, leave: () => leave.abort(superseded) };
  }

  return { clock, pushed, deleted, registry, sources, builder, store, ended, images, ask, folder };
}

/** Waits until the condition holds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  await eventually(10_000, () => assert.ok(condition(), `never came: ${what}`));
}

/** A version whose image has to be built from the commit. */
export function runOf(app: string, version: number, commit: string, spec: SpecInput = {}): VersionRun {
  return {
    app,
    version,
    spec: specOf({ name: app, image: undefined, source: 'https://git.example/a.git', ...spec }),
    config: defaults,
    pin: { ...noPin, sourceDigest: `git:${commit}` },
  };
}
