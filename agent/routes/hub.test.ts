import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import type { Route, RoutesItem } from '../../shared/protocol/routes.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import { isDone } from '../testing/versions.ts';
import { RouteHub } from './hub.ts';

function route(app: string, version = 1): Route {
  return {
    app,
    host: '',
    path: `/${app}`,
    stripPath: true,
    version,
    serving: { state: 'hold', reason: 'asleep' },
    holdMaxCalls: 10,
    holdTimeoutMs: 1_000,
    maxConcurrency: 0,
  };
}

interface Watcher {
  readonly items: RoutesItem[];
  ack(): void;
  leave(): Promise<void>;
}

function ground(t: TestContext) {
  const clock = createManualClock();
  const hub = new RouteHub({ clock, leaseMs: 1_000, log: silentLog });
  t.after(() => hub.close());
  const watch = (router: string, emit?: (item: RoutesItem) => Promise<void>, member?: string): Watcher => {
    const items: RoutesItem[] = [];
    const link = {};
    const left = new AbortController();
    const heardMs = clock.nowMs();
    const done = hub.watch({
      router,
      ...(member === undefined ? {} : { member }),
      link,
      signal: left.signal,
      lastHeardMs: () => heardMs,
      emit: async (item) => {
        items.push(item);
        await emit?.(item);
      },
    });
    return {
      items,
      ack: () => hub.acknowledge(link, items.at(-1)?.seq ?? 0),
      leave: () => {
        left.abort();
        return done;
      },
    };
  };
  return { clock, hub, watch };
}

const settle = (hub: RouteHub, revision: number, t: TestContext) => hub.settledAtKnown(revision, t.signal);

test('a watch begins with a snapshot, cut into pieces, and goes on with deltas', async (t) => {
  const { hub, watch } = ground(t);
  for (let i = 0; i < 250; i += 1) hub.publish(route(`a${i}`));
  const router = watch('r');
  await isDone(Promise.resolve());
  const parts = router.items.map((item) => (item.kind === 'snapshot' ? item : assert.fail(item.kind)));
  assert.deepEqual(
    parts.map(({ seq, more }) => [seq, more]),
    [
      [1, true],
      [2, true],
      [3, false],
    ],
  );
  assert.deepEqual(
    parts.flatMap(({ routes }) => routes.map(({ app }) => app)),
    Array.from({ length: 250 }, (_, i) => `a${i}`),
  );
  hub.publish(route('a0', 2));
  hub.remove('a1');
  await isDone(Promise.resolve());
  assert.deepEqual(router.items.at(-1), { kind: 'delta', seq: 4, upsert: [route('a0', 2)], remove: ['a1'] });
  await router.leave();
});

test('settled waits for the acknowledgement of every router', async (t) => {
  const { hub, watch } = ground(t);
  const [one, two] = [watch('one'), watch('two')];
  const revision = hub.publish(route('a'));
  const settled = settle(hub, revision, t);
  assert.equal(await isDone(settled), false);
  one.ack();
  assert.equal(await isDone(settled), false);
  two.ack();
  assert.deepEqual(await settled, { acknowledged: 2, expired: 0 });
  await Promise.all([one.leave(), two.leave()]);
});

test('another process that uses the name of a router does not answer for it', async (t) => {
  const { hub, watch } = ground(t);
  const real = watch('r1', undefined, 'r1 one');
  real.ack();
  const impostor = watch('r1', undefined, 'r1 two');
  const revision = hub.publish(route('a'));
  const settled = settle(hub, revision, t);
  await turns();
  impostor.ack();
  assert.equal(await isDone(settled), false, 'the router itself has the old table');
  real.ack();
  assert.deepEqual(await settled, { acknowledged: 2, expired: 0 });
  assert.deepEqual(
    hub.routers.map(({ router }) => router),
    ['r1', 'r1'],
  );
  // The same process by a new link takes its own place, as before.
  const again = watch('r1', undefined, 'r1 one');
  await turns();
  again.ack();
  assert.equal(hub.known.length, 2);
});

test('routers are bounded, so that new names without end do not fill the memory', async (t) => {
  const { hub, watch } = ground(t);
  for (let i = 0; i < 1_000; i += 1) watch(`r${i}`);
  await assert.rejects(watch('one more').leave(), { code: 'too_many_calls' });
  assert.equal(hub.known.length, 1_000);
});

test('a slow router gets the newest state of an app only, and its acknowledgement covers what it skipped', async (t) => {
  const { hub, watch } = ground(t);
  let release = (): void => undefined;
  const slow = watch('slow', () => new Promise((resolve) => (release = resolve)));
  await isDone(Promise.resolve());
  hub.publish(route('a', 1));
  const revision = hub.publish(route('a', 2));
  release();
  await isDone(Promise.resolve());
  release();
  assert.deepEqual(slow.items.at(-1), { kind: 'delta', seq: 2, upsert: [route('a', 2)], remove: [] });
  const settled = settle(hub, revision, t);
  slow.ack();
  assert.deepEqual(await settled, { acknowledged: 1, expired: 0 });
  await slow.leave();
});

test('a router whose link is lost is waited for until its lease has run out', async (t) => {
  const { hub, watch, clock } = ground(t);
  const gone: string[] = [];
  hub.onGone((router) => gone.push(router));
  const router = watch('r');
  await isDone(Promise.resolve());
  await router.leave();
  const settled = settle(hub, hub.publish(route('a')), t);
  clock.advance(999);
  assert.equal(await isDone(settled), false);
  clock.advance(1);
  assert.deepEqual(await settled, { acknowledged: 0, expired: 1 });
  assert.deepEqual(gone, ['r']);
});

test('a router that comes back in time counts by its new snapshot', async (t) => {
  const { hub, watch } = ground(t);
  const before = watch('r');
  await isDone(Promise.resolve());
  await before.leave();
  const settled = settle(hub, hub.publish(route('a')), t);
  const after = watch('r');
  await isDone(Promise.resolve());
  assert.equal(await isDone(settled), false);
  after.ack();
  assert.deepEqual(await settled, { acknowledged: 1, expired: 0 });
  await after.leave();
});

test('routers that an earlier leader knew are waited for until a lease after the hub began', async (t) => {
  const { hub, clock } = ground(t);
  const settled = hub.settled(hub.publish(route('a')), t.signal);
  clock.advance(999);
  assert.equal(await isDone(settled), false);
  clock.advance(1);
  assert.deepEqual(await settled, { acknowledged: 0, expired: 0 });
});

test('a wait that is given up rejects with the reason', async (t) => {
  const { hub, watch } = ground(t);
  const router = watch('r');
  const given = new AbortController();
  const settled = hub.settledAtKnown(hub.publish(route('a')), given.signal);
  given.abort(new Error('given up'));
  await assert.rejects(settled, /given up/);
  await router.leave();
});

test('an acknowledgement of something never sent counts for nothing', async (t) => {
  const { hub, watch } = ground(t);
  const router = watch('r');
  await isDone(Promise.resolve());
  hub.acknowledge({}, 1);
  const settled = settle(hub, hub.publish(route('a')), t);
  assert.equal(await isDone(settled), false);
  await isDone(Promise.resolve());
  router.ack();
  await settled;
  await router.leave();
});

test('a router that is heard but does not acknowledge is cut after a lease, and not waited for after another', async (t) => {
  const { hub, clock } = ground(t);
  const done = hub.watch({
    router: 'deaf',
    link: {},
    signal: t.signal,
    lastHeardMs: () => clock.nowMs(),
    emit: async () => undefined,
  });
  const cut = assert.rejects(done, { code: 'deadline_exceeded' });
  const settled = settle(hub, hub.publish(route('a')), t);
  await isDone(Promise.resolve());
  clock.advance(1_000);
  await cut;
  assert.equal(await isDone(settled), false);
  clock.advance(1_000);
  assert.deepEqual(await settled, { acknowledged: 0, expired: 1 });
});

test('a router that acknowledges is never cut, however long nothing changes', async (t) => {
  const { hub, watch, clock } = ground(t);
  const router = watch('r');
  await isDone(Promise.resolve());
  router.ack();
  for (let lease = 0; lease < 5; lease += 1) {
    clock.advance(900);
    hub.publish(route('a', lease + 1));
    await isDone(Promise.resolve());
    clock.advance(90);
    router.ack();
    clock.advance(5_000);
  }
  assert.equal(hub.routers.length, 1);
  await router.leave();
});

test('a router that takes a large table for longer than a lease is waited for while it goes on', async (t) => {
  const { clock, hub, watch } = ground(t);
  for (let i = 0; i < 1_000; i += 1) hub.publish(route(`a${i}`));
  let go: () => void = () => undefined;
  const router = watch('r', () => new Promise((resolve) => (go = resolve)));
  await isDone(Promise.resolve());
  for (let taken = 1; taken < 8; taken += 1) {
    assert.equal(router.items.length, taken);
    router.ack();
    clock.advance(900);
    go();
    await isDone(Promise.resolve());
  }
  assert.equal(hub.routers.length, 1);
  const left = assert.rejects(router.leave(), { code: 'deadline_exceeded' });
  clock.advance(2_100);
  await left;
});

test('a push of many routes goes in items that fit into frames, and is acknowledged with the last', async (t) => {
  const { hub, watch } = ground(t);
  for (let i = 0; i < 2_000; i += 1) hub.publish(route(`gone${i}`));
  const router = watch('r');
  const all = async (): Promise<void> => {
    for (let count = -1; count < router.items.length;) {
      count = router.items.length;
      await isDone(Promise.resolve());
    }
  };
  await all();
  router.ack();
  const snapshot = router.items.length;
  for (let i = 0; i < 2_000; i += 1) hub.remove(`gone${i}`);
  let revision = 0;
  for (let i = 0; i < 1_000; i += 1) revision = hub.publish(route(`b${i}`));
  await all();
  const deltas = router.items.slice(snapshot);
  for (const item of deltas) assert.ok(JSON.stringify(item).length < 65_536);
  assert.equal(new Set(deltas.flatMap((item) => (item.kind === 'delta' ? item.remove : []))).size, 2_000);
  assert.equal(
    new Set(deltas.flatMap((item) => (item.kind === 'delta' ? item.upsert : []).map((one) => one.app))).size,
    1_000,
  );
  const done = settle(hub, revision, t);
  assert.equal(await isDone(done), false);
  router.ack();
  assert.deepEqual(await done, { acknowledged: 1, expired: 0 });
  await router.leave();
});

test('a router that comes after a revision was settled does not know it until it acknowledges', async (t) => {
  const { hub, watch } = ground(t);
  const one = watch('one');
  await isDone(Promise.resolve());
  const revision = hub.publish(route('a'));
  await isDone(Promise.resolve());
  one.ack();
  await settle(hub, revision, t);
  assert.equal(hub.isSettled(revision), true);
  const two = watch('two');
  assert.equal(hub.isSettled(revision), false);
  assert.deepEqual(hub.known, ['one', 'two']);
  await isDone(Promise.resolve());
  two.ack();
  assert.equal(hub.isSettled(revision), true);
  await Promise.all([one.leave(), two.leave()]);
  assert.deepEqual(hub.known, ['one', 'two'], 'until their lease has run out');
  assert.equal(hub.isSettled(revision), false);
});
