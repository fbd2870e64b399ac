import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { createFakePlatform } from '../testing/fake-platform.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { turns, until } from '../../shared/wait/testing/until.ts';
import { RouteHub } from '../routes/hub.ts';
import { createRouterLinks } from '../routes/router-links.ts';
import type { AppStore, Declaration } from '../store/app-store.ts';
import type { AppRecord } from '../store/records.ts';
import { ActivityLog } from './activity.ts';
import { Engine } from './engine.ts';
import { createKeepAwake } from './plan/keep-awake.ts';
import type { Starter } from './machine/machine-deps.ts';
import {
  appRecord,
  createTestRouter,
  defaults,
  isDone,
  silentMetrics,
  specOf,
  versionRecord,
} from '../testing/versions.ts';

const unavailable = new AppError('store_unavailable', 'the connection broke');
const good = (version: number, more = {}) => versionRecord(version, { outcome: 'good', spec: specOf(more) });

/** What Postgres would have, and a switch for what goes wrong. */
function createFakeStore(records: readonly AppRecord[]) {
  const apps = new Map(records.map((record) => [record.name, record]));
  const state = {
    declarations: [] as Declaration[],
    /** Thrown by `declare`, before or after it took effect. */
    failure: undefined as { readonly error: AppError; readonly committed: boolean } | undefined,
    loadFailure: undefined as AppError | undefined,
    wakes: [] as { app: string; ageMs: number }[],
    /** `declare` waits for it. */
    gate: Promise.resolve(),
  };
  const store: AppStore = {
    takeLead: async () => 1,
    async load() {
      if (state.loadFailure) throw state.loadFailure;
      return [...apps.values()];
    },
    async declare(_epoch, declaration) {
      await state.gate;
      const { failure } = state;
      state.failure = undefined;
      if (!failure || failure.committed) {
        state.declarations.push(declaration);
        for (const app of declaration.created) apps.set(app.name, app);
        for (const { app, added } of declaration.updated) {
          const versions = new Map(app.versions);
          if (added) versions.set(added.version, added);
          apps.set(app.name, { ...app, versions });
        }
        for (const name of declaration.deleted) apps.delete(name);
      }
      if (failure) throw failure.error;
    },
    record: async () => undefined,
    versions: async () => [],
    version: async (app, version) => apps.get(app)?.versions.get(version),
    wakes: async () => [...state.wakes],
    ping: async () => undefined,
  };
  return { store, state };
}

/** Longer than any test lets pass at once. */
const leaseMs = 3_600_000;

async function ground(
  t: TestContext,
  records: readonly AppRecord[] = [],
  wakes: { app: string; ageMs: number }[] = [],
) {
  const clock = createManualClock();
  const platform = createFakePlatform();
  const hub = new RouteHub({ clock, leaseMs, log: silentLog });
  clock.advance(leaseMs); // One has passed since the leader began.
  const { store, state } = createFakeStore(records);
  state.wakes = wakes;
  const fenced: AppError[] = [];
  const engine: Engine = new Engine({
    platform,
    store,
    outbox: { add: () => undefined, size: 0, flushed: async () => undefined, close: async () => undefined },
    epoch: 1,
    hub,
    links: createRouterLinks({ log: silentLog }),
    activity: new ActivityLog({ now: () => clock.nowMs(), ruleOf: (app) => engine.idleRule(app) }),
    keepAwake: createKeepAwake(() => 0),
    metrics: silentMetrics,
    wallMs: () => 0,
    defaults,
    clock,
    log: silentLog,
    onFenced: (error) => void fenced.push(error),
  });
  await engine.start(t.signal);
  const router = createTestRouter(hub, 'r', () => clock.nowMs());
  await turns();
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => (closed ??= engine.close());
  t.after(async () => {
    await close();
    await router.leave();
    hub.close();
  });
  const ensure = async (app = 'a', by?: Starter) => {
    const request = {
      version: undefined,
      suspects: [],
      onProgress: () => undefined,
      signal: t.signal,
      ...(by && { by }),
    };
    return await engine.machine(app).ensure(request);
  };
  const apply = (more = {}) => engine.apply([specOf(more)], false, 'test');
  return { clock, platform, hub, state, engine, router, fenced, ensure, apply, close };
}

test('strict: apply returns only when every router has acknowledged that the app is held for the new version', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  await g.ensure();
  await turns();
  g.router.acknowledges = false;
  const applied = g.apply({ port: 9_000 });
  assert.equal(await isDone(applied), false);
  g.router.acknowledges = true;
  const { changes, routers } = await applied;
  assert.deepEqual(changes.map(({ action, version }) => [action, version]), [['update', 2]]); // prettier-ignore
  assert.deepEqual(routers, { acknowledged: 1, expired: 0 });
  assert.equal(g.router.table.get('a')?.version, 2);
});

test('strict: an apply that is repeated, since the first was cut, waits for the routers too', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  await g.ensure();
  await turns();
  g.router.acknowledges = false;
  const first = g.apply({ port: 9_000 });
  await turns();
  const again = g.apply({ port: 9_000 });
  assert.equal(await isDone(again), false);
  g.router.acknowledges = true;
  assert.deepEqual((await again).changes[0]?.action, 'unchanged');
  await first;
});

test('an app that is declared again as it is takes nothing back of what was declared before its turn', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  const { promise, resolve } = Promise.withResolvers<void>();
  g.state.gate = promise;
  const changed = g.apply({ port: 9_000 });
  const again = g.engine.repin('a', 'sync');
  await turns();
  resolve();
  await changed;
  assert.deepEqual(await again, { app: 'a', action: 'unchanged', version: 2, fields: [] });
  assert.equal(g.engine.machine('a').record.versions.get(2)?.spec.port, 9_000);
  await assert.rejects(g.engine.repin('none', 'sync'), { code: 'app_not_found' });
});

test('apply reports a source whose server does not answer, and declares an image without its digest', async (t) => {
  const g = await ground(t);
  for (const name of ['a', 'b']) g.platform.hold(`pin ${name}`);
  const { image: _image, ...rest } = specOf();
  const source = g.engine.apply([{ ...rest, source: 'https://git.example/x.git' }], false, 'test');
  await until(() => g.platform.steps.includes('pin a'), 'the look-up');
  g.clock.advance(10_000);
  await assert.rejects(source, { code: 'source_unavailable', message: /app a: .* 10 s/ });
  const image = g.engine.apply([specOf({ name: 'b', path: '/b' })], false, 'test');
  await until(() => g.platform.steps.includes('pin b'), 'the look-up');
  g.clock.advance(10_000);
  assert.equal((await image).changes[0]?.action, 'create');
});

test('strict: an apply that is repeated after a failover waits for routers that have not come back yet', async (t) => {
  const clock = createManualClock();
  const hub = new RouteHub({ clock, leaseMs: 1_000, log: silentLog });
  const { store } = createFakeStore([appRecord([good(1)])]);
  const engine: Engine = new Engine({
    platform: createFakePlatform(),
    store,
    outbox: { add: () => undefined, size: 0, flushed: async () => undefined, close: async () => undefined },
    epoch: 2,
    hub,
    links: createRouterLinks({ log: silentLog }),
    activity: new ActivityLog({ now: () => clock.nowMs(), ruleOf: (app) => engine.idleRule(app) }),
    keepAwake: createKeepAwake(() => 0),
    metrics: silentMetrics,
    wallMs: () => 0,
    defaults,
    clock,
    log: silentLog,
    onFenced: () => undefined,
  });
  t.after(async () => {
    await engine.close();
    hub.close();
  });
  await engine.start(t.signal);
  const applied = engine.apply([specOf()], false, 'test');
  assert.equal(await isDone(applied), false);
  clock.advance(1_000);
  assert.equal((await applied).changes[0]?.action, 'unchanged');
});

test('a router that is lost delays the apply that waits for it, and no other declaration', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  g.router.acknowledges = false;
  const first = g.apply({ port: 9_000 });
  await turns();
  const other = g.engine.apply([specOf({ name: 'b', path: '/b' })], true, 'test');
  assert.equal((await other).changes[0]?.action, 'create');
  g.router.acknowledges = true;
  await first;
});

test('a version that answers while the next is being declared keeps what was learnt of it', async (t) => {
  const g = await ground(t, [appRecord([versionRecord(1)])]);
  const start = g.platform.hold('start a v1');
  const ensured = g.ensure();
  await start.reached;
  const gate = Promise.withResolvers<void>();
  g.state.gate = gate.promise;
  const applied = g.apply({ port: 9_000 });
  await until(() => g.platform.steps.includes('pin a'), 'the plan');
  await turns();
  start.open();
  await ensured;
  gate.resolve();
  await applied;
  const { record } = g.engine.machine('a');
  assert.deepEqual([record.live, record.good], [2, 1]);
});

test('without a version, a rollback goes to the last one that answered', async (t) => {
  const g = await ground(t, [appRecord([good(1), good(2)])]);
  await g.ensure();
  await g.apply({ port: 9_000 });
  assert.deepEqual(await g.engine.rollback('a', undefined, 'test'), { version: 2, from: 3 });
  await g.ensure();
  assert.deepEqual(await g.engine.rollback('a', undefined, 'test'), { version: 1, from: 2 });
});

test('update.hold = false: a rollback takes the version back that has not answered yet', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  await g.ensure();
  await g.apply({ port: 9_000, config: { update: { hold: false } } });
  assert.equal(g.engine.machine('a').record.pending, 2);
  assert.deepEqual(await g.engine.rollback('a', 1, 'test'), { version: 1, from: 2 });
  const { live, pending } = g.engine.machine('a').record;
  assert.deepEqual([live, pending], [1, null]);
  assert.equal(g.router.table.get('a')?.serving.state, 'ready');
});

test('a declaration whose commit got no answer is known before anything else is declared', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  g.state.failure = { error: unavailable, committed: true };
  await assert.rejects(g.apply({ port: 9_000 }), { code: 'store_unavailable' });
  const { changes } = await g.apply({ port: 9_000 });
  assert.deepEqual(changes.map(({ action, version }) => [action, version]), [['unchanged', 2]]); // prettier-ignore
  assert.equal(g.engine.machine('a').record.live, 2);
});

test('a deletion whose commit got no answer is found when Postgres can be asked again', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  g.state.failure = { error: unavailable, committed: true };
  g.state.loadFailure = unavailable;
  await assert.rejects(g.engine.delete('a', false, 'test'), { code: 'store_unavailable' });
  g.clock.advance(2_000);
  await turns();
  assert.ok(g.router.table.has('a'));
  g.state.loadFailure = undefined;
  g.clock.advance(2_000);
  await until(() => !g.router.table.has('a'), 'the end of the route');
  await until(() => g.platform.steps.includes('remove a'), 'the removal');
});

test('a declaration that finds another leader ends this lead', async (t) => {
  const g = await ground(t);
  g.state.failure = { error: new AppError('fenced', 'another leads'), committed: false };
  await assert.rejects(g.apply(), { code: 'fenced' });
  assert.equal(g.fenced.length, 1);
});

test('an app whose objects cannot be removed disappears for clients, and delete does not wait for ever', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  const stuck = g.platform.hold('remove a');
  const deleted = g.engine.delete('a', false, 'test');
  deleted.catch(() => undefined);
  await stuck.reached;
  assert.equal(g.router.table.has('a'), false);
  g.clock.advance(30_000);
  await assert.rejects(deleted, { code: 'platform_error' });
  assert.equal((await g.apply({ name: 'b', path: '/b' })).changes[0]?.action, 'create');
});

test('an app that is declared again is not removed by the removal of its predecessor', async (t) => {
  const g = await ground(t, [appRecord([good(1)])]);
  g.platform.fail('remove a with volumes', new AppError('platform_error', 'the API server is away'));
  await assert.rejects(g.engine.delete('a', true, 'test'), { code: 'platform_error' });
  const again = g.platform.hold('remove a with volumes');
  g.clock.advance(2_000);
  await again.reached;
  await g.apply();
  assert.ok(again.cut, 'the volumes of the new app would have been removed');
  const before = g.platform.steps.filter((step) => step.startsWith('remove')).length;
  g.clock.advance(60_000);
  await turns();
  assert.equal(g.platform.steps.filter((step) => step.startsWith('remove')).length, before);
});

test('a deletion while a start is under way ends the start and its waits', async (t) => {
  const g = await ground(t, [appRecord([versionRecord(1)])]);
  const start = g.platform.hold('start a v1');
  const waiting = g.ensure();
  waiting.catch(() => undefined);
  await start.reached;
  await g.engine.delete('a', false, 'test');
  await assert.rejects(waiting, { code: 'cancelled' });
  assert.equal(g.router.table.has('a'), false);
  await assert.rejects(g.ensure(), { code: 'app_not_found' });
});

test('the version kept for a rollback is named to the platform when a leader begins', async (t) => {
  const g = await ground(t, [appRecord([good(1), good(2), versionRecord(3)])]);
  assert.deepEqual(
    g.platform.adopted.map(({ version }) => version),
    [1, 2, 3],
  );
});

test('the end of a lead ends every wait: starts, applies that wait for routers, removals', async (t) => {
  const g = await ground(t, [appRecord([versionRecord(1)]), appRecord([good(1, { name: 'b', path: '/b' })], { name: 'b', path: '/b' })]); // prettier-ignore
  const start = g.platform.hold('start a v1');
  const waiting = g.ensure();
  await start.reached;
  const stuck = g.platform.hold('remove b');
  const deleted = g.engine.delete('b', false, 'test');
  await stuck.reached;
  g.router.acknowledges = false;
  const applied = g.apply({ port: 9_000 });
  const ends = Promise.allSettled([waiting, deleted, applied]);
  await turns();
  await g.close();
  assert.deepEqual(
    (await ends).map((end) => end.status === 'rejected' && (end.reason as AppError).code),
    ['cancelled', 'cancelled', 'cancelled'],
  );
});

test('wakes under an earlier leader count against the budget of this one', async (t) => {
  const config = { wake: { max_per_hour: 2 } };
  const wakes = [600_000, 1_800_000].map((ageMs) => ({ app: 'a', ageMs }));
  const g = await ground(t, [appRecord([good(1, { config })])], wakes);
  const cause = { router: 'r', method: 'GET', host: 'h', path: '/a', userAgent: '', client: '', requestId: '1' };
  await assert.rejects(g.ensure('a', { actor: 'router', forCall: true, cause }), {
    code: 'wake_budget_exhausted',
    retryAfterMs: 1_800_000,
  });
  g.clock.advance(1_800_000);
  assert.equal((await g.ensure('a', { actor: 'router', forCall: true, cause })).targets, 1);
});
