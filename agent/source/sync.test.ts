import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { appSpec, type AppSpec } from '../../shared/protocol/app-spec.ts';
import { createManualClock, type ManualClock } from '../../shared/wait/testing/manual-clock.ts';
import type { NewEvent } from '../store/records.ts';
import { Sync, type SyncApp } from './sync.ts';

interface Bench {
  readonly clock: ManualClock;
  readonly sync: Sync;
  readonly apps: Map<string, SyncApp>;
  /** `<app> by <actor>` */
  readonly repinned: string[];
  readonly events: NewEvent[];
  readonly resolved: string[];
  /** What refs are now; an error where the server fails. */
  head: string | AppError;
  /** Lets an interval pass, and what begins then end. */
  interval(): Promise<void>;
}

function createBench(t: TestContext): Bench {
  const clock = createManualClock();
  const apps = new Map<string, SyncApp>();
  const bench: Bench = {
    clock,
    apps,
    repinned: [],
    events: [],
    resolved: [],
    head: 'git:1',
    sync: new Sync({
      engine: {
        apps: () => [...apps.values()],
        app(name) {
          const app = apps.get(name);
          if (app === undefined) throw new AppError('app_not_found', name);
          return app;
        },
        repin(name, actor) {
          bench.repinned.push(`${name} by ${actor}`);
          const app = apps.get(name);
          if (app !== undefined && typeof bench.head === 'string') apps.set(name, { ...app, digests: [bench.head] });
          return Promise.resolve({ app: name, action: 'update', version: 2, fields: [] });
        },
        record: (event) => bench.events.push(event),
      },
      sources: {
        resolve(spec) {
          bench.resolved.push(spec.source ?? '');
          return typeof bench.head === 'string' ? Promise.resolve(bench.head) : Promise.reject(bench.head);
        },
      },
      clock,
      intervalMs: 60_000,
      log: silentLog,
      random: () => 0.5,
    }),
    async interval() {
      clock.advance(60_000);
      for (let turn = 0; turn < 5; turn += 1) await setImmediate();
    },
  };
  t.after(() => bench.sync.close());
  return bench;
}

function app(name: string, overrides: Partial<AppSpec> = {}, digests: (string | null)[] = ['git:1']): SyncApp {
  const spec = { name, path: `/${name}`, source: `https://git.example/${name}`, auto_sync: true, ...overrides };
  return { name, spec: appSpec.parse(spec), digests };
}

void test('a commit that moved makes a version, once; apps without auto_sync are left alone', async (t) => {
  const bench = createBench(t);
  bench.apps.set('a', app('a'));
  bench.apps.set('b', app('b', { auto_sync: false }));
  await bench.interval();
  assert.deepEqual(bench.repinned, []);
  bench.head = 'git:2';
  await bench.interval();
  await bench.interval();
  assert.deepEqual(bench.repinned, ['a by sync']);
  assert.deepEqual(new Set(bench.resolved), new Set(['https://git.example/a']));
});

void test('a version that was rolled back is not made again until the commit moves on', async (t) => {
  const bench = createBench(t);
  bench.apps.set('a', app('a', {}, ['git:1', 'git:2']));
  bench.head = 'git:2';
  await bench.interval();
  assert.deepEqual(bench.repinned, []);
  bench.head = 'git:3';
  await bench.interval();
  assert.deepEqual(bench.repinned, ['a by sync']);
});

void test('a server that fails is one event, asked less and less, and one event when it is back', async (t) => {
  const bench = createBench(t);
  bench.apps.set('a', app('a'));
  bench.head = new AppError('source_unavailable', 'away');
  for (let round = 0; round < 20; round += 1) await bench.interval();
  assert.deepEqual(
    bench.events.map(({ kind, app, message }) => [kind, app, message]),
    [['source.sync_failed', 'a', 'source_unavailable: away']],
  );
  assert.ok(bench.resolved.length < 10, `asked ${bench.resolved.length} times`);
  bench.head = 'git:1';
  // Named: at once, whatever the pause.
  bench.sync.look(['a']);
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
  assert.deepEqual(
    bench.events.map(({ kind }) => kind),
    ['source.sync_failed', 'source.sync_recovered'],
  );
});

void test('an app that is named while it is looked at is looked at again', async (t) => {
  const bench = createBench(t);
  bench.apps.set('a', app('a', { auto_sync: false }));
  bench.sync.look(['a', 'a', 'gone']);
  bench.sync.look(['a']);
  for (let turn = 0; turn < 10; turn += 1) await setImmediate();
  assert.equal(bench.resolved.length, 2);
  assert.deepEqual(bench.events, []);
});

void test('apps.sync declares the app in the name of the caller, and returns the change', async (t) => {
  const bench = createBench(t);
  bench.apps.set('a', app('a'));
  bench.head = 'git:2';
  const { change, sourceDigest } = await bench.sync.now('a', 'someone');
  assert.deepEqual([change.action, sourceDigest, bench.repinned], ['update', 'git:2', ['a by someone']]);
  await assert.rejects(bench.sync.now('none', 'someone'), { code: 'app_not_found' });
  bench.apps.set('i', app('i', { source: undefined, image: 'i:1', auto_sync: false }));
  await assert.rejects(bench.sync.now('i', 'someone'), { code: 'source_unsupported' });
});
