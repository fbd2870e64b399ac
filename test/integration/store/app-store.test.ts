/** The store on a real Postgres. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { createAppStore, type AppStore } from '../../../agent/store/app-store.ts';
import { openDatabase } from '../../../agent/store/database.ts';
import { createEventStore } from '../../../agent/store/event-store.ts';
import { migrate } from '../../../agent/store/migrate.ts';
import { createOutbox } from '../../../agent/store/outbox.ts';
import type { AppRecord, VersionRecord } from '../../../agent/store/records.ts';
import { silentLog } from '../../../shared/log.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import { appSpec } from '../../../shared/protocol/app-spec.ts';
import { openTestDatabase } from '../database.ts';

const at = '2026-01-02T03:04:05.000Z';

function version(number: number, overrides: Partial<VersionRecord> = {}): VersionRecord {
  return {
    version: number,
    spec: appSpec.parse({ name: 'a', path: '/a', image: `app:${number}`, secrets: { KEY: 'value' } }),
    imageDigest: null,
    sourceDigest: null,
    imageTag: null,
    outcome: 'declared',
    failure: null,
    timings: null,
    createdAt: at,
    createdBy: 'test',
    ...overrides,
  };
}

function app(name: string, path: string): AppRecord {
  const common = {
    live: 1,
    pending: null,
    good: null,
    kept: null,
    generation: 1,
    latest: 1,
    createdAt: at,
    updatedAt: at,
  };
  return { name, host: '', path, ...common, versions: new Map([[1, version(1)]]) };
}

async function storeOf(
  t: TestContext,
): Promise<{ store: AppStore; epoch: number; events: ReturnType<typeof createEventStore> }> {
  const db = await openTestDatabase(t);
  await migrate(db);
  const store = createAppStore({ db });
  return { store, epoch: await store.takeLead('one'), events: createEventStore({ db }) };
}

const nothing = { created: [], updated: [], deleted: [], events: [] };

test('migrations run once, also when two agents start together', async (t) => {
  const db = await openTestDatabase(t);
  const runs = await Promise.all([migrate(db), migrate(db)]);
  assert.deepEqual(runs.flat(), [1, 2, 3, 4, 5]);
});

test('a schema of a newer release is refused', async (t) => {
  const db = await openTestDatabase(t);
  await migrate(db);
  await db.query('insert into migrations (number) values (999)');
  await assert.rejects(migrate(db), { code: 'config_invalid', message: /999 of a newer release/ });
});

test('an app comes back as it was declared, secrets included', async (t) => {
  const { store, epoch } = await storeOf(t);
  await store.declare(epoch, { ...nothing, created: [app('a', '/a')] });
  assert.deepEqual(await store.load(), [app('a', '/a')]);
});

test('a declaration is all or nothing: a route conflict writes none of it', async (t) => {
  const { store, epoch, events } = await storeOf(t);
  const event = { actor: 'test', app: 'a', version: 1, kind: 'app.created', message: 'made' };
  const both = { ...nothing, created: [app('a', '/x'), app('b', '/x')], events: [event] };
  await assert.rejects(store.declare(epoch, both), { code: 'route_conflict' });
  assert.deepEqual(await store.load(), []);
  assert.deepEqual(await events.list({ limit: 10 }), []);
});

test('two apps change routes with each other in one declaration', async (t) => {
  const { store, epoch } = await storeOf(t);
  await store.declare(epoch, { ...nothing, created: [app('a', '/a'), app('b', '/b')] });
  const swapped = [
    { app: app('a', '/b'), added: undefined },
    { app: app('b', '/a'), added: undefined },
  ];
  await store.declare(epoch, { ...nothing, updated: swapped });
  assert.deepEqual(
    (await store.load()).map(({ path }) => path),
    ['/b', '/a'],
  );
});

test('the newest version is loaded though it is neither live nor good, since its failure is shown', async (t) => {
  const { store, epoch } = await storeOf(t);
  await store.declare(epoch, { ...nothing, created: [app('a', '/a')] });
  const next = { ...app('a', '/a'), live: 2, good: 1, latest: 2, generation: 2 };
  await store.declare(epoch, { ...nothing, updated: [{ app: next, added: version(2) }] });
  await store.record(epoch, { app: 'a', pointers: { live: 1, pending: null, good: 1, generation: 2 }, events: [] });
  const versions = (await store.load())[0]?.versions;
  assert.deepEqual([versions?.size, versions?.has(1), versions?.has(2)], [2, true, true]);
});

test('an earlier leader is fenced', async (t) => {
  const { store, epoch } = await storeOf(t);
  await store.takeLead('two');
  await assert.rejects(store.declare(epoch, { ...nothing, created: [app('a', '/a')] }), {
    code: 'fenced',
    message: /two leads epoch 2/,
  });
});

test('what an older generation led to does not move the pointers of a newer one', async (t) => {
  const { store, epoch } = await storeOf(t);
  await store.declare(epoch, { ...nothing, created: [app('a', '/a')] });
  const next = { ...app('a', '/a'), live: 2, latest: 2, generation: 2 };
  await store.declare(epoch, { ...nothing, updated: [{ app: next, added: version(2) }] });
  await store.record(epoch, { app: 'a', pointers: { live: 1, pending: null, good: 1, generation: 1 }, events: [] });
  assert.equal((await store.load())[0]?.live, 2);
  await store.record(epoch, { app: 'a', pointers: { live: 2, pending: null, good: 2, generation: 2 }, events: [] });
  assert.equal((await store.load())[0]?.good, 2);
});

test('outcome, failure and timings of a version are kept, and a failure can be taken back', async (t) => {
  const { store, epoch } = await storeOf(t);
  await store.declare(epoch, { ...nothing, created: [app('a', '/a')] });
  const failure = { code: 'app_crashed', phase: 'start', owner: 'app' as const, message: 'exit 1', logs: ['boom'], at };
  await store.record(epoch, { app: 'a', version: { number: 1, outcome: 'failed', failure }, events: [] });
  assert.deepEqual((await store.version('a', 1))?.failure, failure);
  const timings = { buildMs: null, rolloutMs: 12 };
  await store.record(epoch, { app: 'a', version: { number: 1, outcome: 'good', failure: null, timings }, events: [] });
  const [found] = await store.versions('a', 10);
  assert.deepEqual([found?.outcome, found?.failure, found?.timings], ['good', null, timings]);
});

test('events outlive their app and page by id', async (t) => {
  const { store, epoch, events } = await storeOf(t);
  const made = (message: string) => ({ actor: 'test', app: 'a', version: null, kind: 'test', message });
  await store.declare(epoch, { ...nothing, created: [app('a', '/a')], events: [made('1'), made('2'), made('3')] });
  await store.declare(epoch, { ...nothing, deleted: ['a'] });
  const first = await events.list({ app: 'a', limit: 2 });
  assert.deepEqual(
    first.map(({ message }) => message),
    ['3', '2'],
  );
  const rest = await events.list({ app: 'a', before: first[1]!.id, limit: 2 });
  assert.deepEqual(
    rest.map(({ message }) => message),
    ['1'],
  );
});

test('a database that is away is one clear error', async (t) => {
  const db = openDatabase({
    connectionString: 'postgres://nobody@127.0.0.1:1/none',
    maxConnections: 1,
    log: silentLog,
  });
  t.after(() => db.close());
  await assert.rejects(db.query('select 1'), {
    code: 'store_unavailable',
    message: /Postgres cannot be reached: .*ECONNREFUSED/,
  });
  await assert.rejects(
    db.transaction(() => Promise.resolve()),
    { code: 'store_unavailable' },
  );
});

test('records are written in order, and wait while Postgres is away', async (t) => {
  const { store, epoch } = await storeOf(t);
  await store.declare(epoch, { ...nothing, created: [app('a', '/a')] });
  let away = true;
  const flaky: Pick<AppStore, 'record'> = {
    async record(at, progress) {
      if (away) {
        away = false;
        await openDatabase({
          connectionString: 'postgres://nobody@127.0.0.1:1/none',
          maxConnections: 1,
          log: silentLog,
        }).query('select 1');
      }
      await store.record(at, progress);
    },
  };
  const outbox = createOutbox({
    clock: systemClock,
    store: flaky,
    epoch,
    log: silentLog,
    onFenced: () => assert.fail('fenced'),
  });
  t.after(() => outbox.close());
  outbox.add({ app: 'a', pointers: { live: 1, pending: null, good: 1, generation: 1 }, events: [] });
  outbox.add({ app: 'a', pointers: { live: 1, pending: null, good: null, generation: 1 }, events: [] });
  await outbox.flushed(t.signal);
  assert.equal(outbox.size, 0);
  assert.equal((await store.load())[0]?.good, null);
});

test('wakes of the last hour are found, and no older ones', async (t) => {
  const db = await openTestDatabase(t);
  await migrate(db);
  const store = createAppStore({ db });
  const epoch = await store.takeLead('one');
  await store.declare(epoch, { ...nothing, created: [app('a', '/a')] });
  const event = (kind: string) => ({ actor: 'router', app: 'a', version: 1, kind, message: '' });
  await store.record(epoch, { app: 'a', events: [event('app.woken'), event('app.asleep'), event('app.woken')] });
  await db.query("update events set at = now() - interval '61 minutes' where id = (select min(id) from events)");
  const wakes = await store.wakes();
  assert.deepEqual(
    wakes.map((wake) => wake.app),
    ['a'],
  );
  assert.ok(wakes.every(({ ageMs }) => ageMs >= 0 && ageMs < 60_000));
});
