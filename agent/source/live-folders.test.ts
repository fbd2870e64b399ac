import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import type { FolderWatchOptions } from '../../shared/presets/folder-watch.ts';
import { appSpec, type AppSpec } from '../../shared/protocol/app-spec.ts';
import type { PlannedChange } from '../../shared/protocol/views.ts';
import { defaultSourceLimits } from '../../shared/source/limits.ts';
import { createManualClock, type ManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import type { NewEvent } from '../store/records.ts';
import { LiveFolders } from './live-folders.ts';
import type { SyncApp } from './sync.ts';

/** A declaration under way. */
interface Declaring {
  readonly app: string;
  readonly actor: string;
  readonly end: () => Promise<void>;
  readonly fail: (error: AppError) => Promise<void>;
}

interface Bench {
  readonly clock: ManualClock;
  readonly live: LiveFolders;
  readonly apps: Map<string, SyncApp>;
  /** Every declaration that was begun. */
  readonly declared: Declaring[];
  readonly events: NewEvent[];
  /** The watches that are open, by their folder. */
  readonly watches: Map<string, FolderWatchOptions>;
  /** The folder has changed, as its watch tells it. */
  readonly edit: (root: string) => void;
  /** Lets the apps be compared with what is watched. */
  readonly look: () => void;
}

function createBench(t: TestContext, specs: Readonly<Record<string, Partial<AppSpec>>>): Bench {
  const clock = createManualClock();
  const apps = new Map(Object.entries(specs).map(([name, spec]) => [name, app(name, spec)]));
  const declared: Declaring[] = [];
  const events: NewEvent[] = [];
  const watches = new Map<string, FolderWatchOptions>();
  const live = new LiveFolders({
    engine: {
      apps: () => [...apps.values()],
      repinIfNew(name, actor) {
        const { promise, resolve, reject } = Promise.withResolvers<PlannedChange>();
        const change = { app: name, action: 'update' as const, version: declared.length + 2, fields: [] };
        declared.push({
          app: name,
          actor,
          end: () => (resolve(change), turns()),
          fail: (error) => (reject(error), turns()),
        });
        return promise;
      },
      record: (event) => events.push(event),
    },
    dataDir: '/data',
    limits: defaultSourceLimits,
    clock,
    log: silentLog,
    watch(options) {
      watches.set(options.root, options);
      return { close: () => (watches.delete(options.root), Promise.resolve()) };
    },
  });
  t.after(async () => {
    const closing = live.close();
    await Promise.all(declared.map((one) => one.end()));
    await closing;
  });
  return {
    clock,
    live,
    apps,
    declared,
    events,
    watches,
    edit: (root) => watches.get(root)?.onChange(),
    look: () => clock.advance(500),
  };
}

function app(name: string, overrides: Partial<AppSpec> = {}): SyncApp {
  return { name, spec: appSpec.parse({ name, path: `/${name}`, source: `/src/${name}`, ...overrides }), digests: [] };
}

void test('a burst of edits declares the app once, and once more for what came meanwhile', async (t) => {
  const { declared, edit } = createBench(t, { a: {}, b: {} });
  edit('/src/a');
  assert.deepEqual(
    declared.map(({ app: name, actor }) => [name, actor]),
    [['a', 'watch']],
    'at once',
  );
  for (let times = 0; times < 10; times += 1) edit('/src/a');
  await turns();
  assert.equal(declared.length, 1, 'nothing is declared twice at a time');
  await declared[0]?.end();
  assert.equal(declared.length, 2, 'one for the ten edits during the first');
  await declared[1]?.end();
  assert.equal(declared.length, 2);
  edit('/src/a');
  assert.equal(declared.length, 3, 'the next edit is seen again');
});

void test('an app whose declaration takes long delays no other', async (t) => {
  const { declared, edit } = createBench(t, { a: {}, b: {} });
  edit('/src/a');
  edit('/src/b');
  await turns();
  assert.deepEqual(
    declared.map(({ app: name }) => name),
    ['a', 'b'],
  );
});

void test('a declaration that fails is told once, and the next edit tries again', async (t) => {
  const { declared, edit, events } = createBench(t, { a: {} });
  const told = (): [string, string][] => events.map(({ kind, message }) => [kind, message]);
  const failure: [string, string] = ['source.watch_failed', 'source_invalid: a link leads out'];
  for (let times = 0; times < 3; times += 1) {
    edit('/src/a');
    await declared.at(-1)?.fail(new AppError('source_invalid', 'a link leads out'));
  }
  assert.equal(declared.length, 3, 'each edit has tried, and nothing else');
  assert.deepEqual(told(), [failure], 'a series of failures is one event');
  edit('/src/a');
  await declared.at(-1)?.end();
  edit('/src/a');
  await declared.at(-1)?.fail(new AppError('source_invalid', 'a link leads out'));
  assert.deepEqual(told(), [failure, failure], 'after a success, a failure is told again');
});

void test('an edit during a declaration that fails is not lost', async (t) => {
  const { declared, edit } = createBench(t, { a: {} });
  edit('/src/a');
  edit('/src/a');
  await declared[0]?.fail(new AppError('store_unavailable', 'away'));
  assert.equal(declared.length, 2);
});

void test('watches follow the apps: new ones, other folders, and apps that are gone or have no folder', async (t) => {
  const { apps, watches, look, edit, declared } = createBench(t, { a: {}, git: { source: 'https://git.example/a' } });
  assert.deepEqual([...watches.keys()], ['/src/a']);
  assert.deepEqual(watches.get('/src/a')?.skip, new Set(['/data']));
  apps.set('b', app('b', { dir: 'web' }));
  look();
  assert.deepEqual([...watches.keys()], ['/src/a', '/src/b/web']);
  apps.set('a', app('a', { source: '/src/moved' }));
  apps.delete('b');
  look();
  assert.deepEqual([...watches.keys()], ['/src/moved']);
  apps.set('a', app('a', { source: '/src/moved', build: { dockerfile: 'Other' } as AppSpec['build'] }));
  const watch = watches.get('/src/moved');
  look();
  assert.equal(watches.get('/src/moved'), watch, 'an app that has changed otherwise keeps its watch');
  assert.equal(watch?.spec().build.dockerfile, 'Other');

  edit('/src/moved');
  edit('/src/moved');
  apps.delete('a');
  look();
  await declared[0]?.end();
  assert.equal(declared.length, 1, 'an app that is gone is not declared again');
});

void test('closing ends watches and timers, and nothing is declared or told afterwards', async (t) => {
  const { live, clock, watches, edit, declared, events } = createBench(t, { a: {} });
  edit('/src/a');
  edit('/src/a');
  const closing = live.close();
  assert.equal(watches.size, 0);
  assert.equal(clock.pending, 0);
  await declared[0]?.fail(new AppError('cancelled', 'the agent is shutting down'));
  await closing;
  assert.equal(declared.length, 1);
  assert.deepEqual(events, []);
});
