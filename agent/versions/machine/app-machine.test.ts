import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import type { Failure } from '../../../shared/protocol/views.ts';
import { createFakePlatform } from '../../testing/fake-platform.ts';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import { turns, until } from '../../../shared/wait/testing/until.ts';
import { RouteHub } from '../../routes/hub.ts';
import type { Released } from '../../routes/router-links.ts';
import type { Progress } from '../../store/app-store.ts';
import type { AppRecord, VersionRecord } from '../../store/records.ts';
import { AppMachine } from './app-machine.ts';
import { createKeepAwake } from '../plan/keep-awake.ts';
import type { EnsureResult } from './machine-deps.ts';
import {
  appRecord,
  createTestRouter,
  defaults,
  isDone,
  releasedOf,
  silentMetrics,
  specOf,
  versionRecord,
  type SpecInput,
} from '../../testing/versions.ts';

const crashed = new AppError('app_crashed', 'exit code 1', { phase: 'start', data: { logs: ['boom'] } });
const away = new AppError('platform_error', 'the API server is away');
const good = (version: number, spec: SpecInput = {}): VersionRecord =>
  versionRecord(version, { outcome: 'good', spec: specOf(spec) });
const fresh = (version: number, spec: SpecInput = {}): VersionRecord => versionRecord(version, { spec: specOf(spec) });

/** Longer than any test lets pass at once. */
const leaseMs = 3_600_000;

function ground(t: TestContext, record: AppRecord) {
  const clock = createManualClock();
  const platform = createFakePlatform();
  const hub = new RouteHub({ clock, leaseMs, log: silentLog });
  clock.advance(leaseMs); // One has passed since the leader began.
  const written: Progress[] = [];
  /** Calls that routers still have, by version of the target. */
  const inFlight = new Map<number, Promise<number>>();
  const state = {
    /** What routers' reports come to. */
    idle: true,
    /** What they answer besides the calls in flight. */
    released: {} as Partial<Released>,
    /** Calls in flight that they answer first, one release each. */
    answers: [] as Promise<number>[],
    wallMs: Date.parse('2026-01-05T00:00:00Z'),
  };
  const machine = new AppMachine(
    {
      platform,
      hub,
      isIdle: (_app, { bytes = 0 } = { bytes: 0, idleMs: Infinity }) => state.idle && bytes < 1_500,
      keepAwake: createKeepAwake(() => state.wallMs),
      metrics: silentMetrics,
      onChange: () => undefined,
      release: async (_app, targets, _waitMs, signal) => {
        const answer = state.answers.shift();
        if (answer) return releasedOf(await answer);
        for (const [version, left] of inFlight) {
          if (!targets.some((id) => id.startsWith(`a-v${version}-`))) continue;
          const cut = new Promise<never>((_resolve, reject) => {
            signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
          });
          return releasedOf(await Promise.race([left, cut]), state.released);
        }
        return releasedOf(0, state.released);
      },
      outbox: { add: (progress) => void written.push(progress) },
      defaults,
      clock,
      log: silentLog,
    },
    record,
  );
  platform.onTargets((_app, version) => machine.targetsChanged(version));
  machine.publish();
  const router = createTestRouter(hub, 'r', () => clock.nowMs());
  t.after(async () => {
    await machine.close();
    await router.leave();
    hub.close();
  });
  const ensure = (version?: number, suspects: readonly string[] = [], signal = t.signal): Promise<EnsureResult> => {
    const result = machine.ensure({ version, suspects, onProgress: () => undefined, signal });
    result.catch(() => undefined);
    return result;
  };
  const declare = (version: VersionRecord, more: Partial<AppRecord> = {}): number => {
    const { generation, latest } = machine.record;
    const declared = { live: version.version, pending: null, generation: generation + 1, ...more };
    return machine.declared({
      ...machine.record,
      ...declared,
      latest: Math.max(latest, version.version),
      added: version,
    });
  };
  /** What calls get at the router. */
  const serving = (): string => {
    const route = router.table.get('a');
    if (!route) return 'none';
    return `v${route.version} ${route.serving.state === 'hold' ? route.serving.reason : route.serving.state}`;
  };
  const count = (step: string): number => platform.steps.filter((made) => made === step).length;
  /** Lets the leader look for what is idle or left over, as it does every so often. */
  const lookAround = async (): Promise<void> => {
    for (let second = 0; second < 12; second += 1) {
      clock.advance(500);
      state.idle = false;
      machine.look();
      await turns();
    }
  };
  return {
    clock,
    platform,
    hub,
    machine,
    router,
    written,
    inFlight,
    state,
    ensure,
    declare,
    serving,
    count,
    lookAround,
  };
}

async function idleDown(g: ReturnType<typeof ground>): Promise<void> {
  g.clock.advance(181_000);
  g.state.idle = true;
  g.machine.look();
  await turns();
}

test('calls that ask at once share one start', async (t) => {
  const g = ground(t, appRecord([fresh(1)]));
  const results = await Promise.all([g.ensure(), g.ensure(1), g.ensure()]);
  assert.deepEqual(
    results.map(({ version, targets }) => [version, targets]),
    [
      [1, 1],
      [1, 1],
      [1, 1],
    ],
  );
  assert.equal(g.count('start a v1'), 1);
  await turns();
  assert.equal(g.serving(), 'v1 ready');
});

test('a caller that leaves ends its own wait and not the start', async (t) => {
  const g = ground(t, appRecord([fresh(1)]));
  const start = g.platform.hold('start a v1');
  const left = new AbortController();
  const leaver = g.ensure(1, [], left.signal);
  const stayer = g.ensure();
  await start.reached;
  left.abort();
  await assert.rejects(leaver, { code: 'cancelled' });
  start.open();
  assert.equal((await stayer).targets, 1);
});

test('strict: calls are held until the stable address leads to the new version only', async (t) => {
  const g = ground(t, appRecord([fresh(1)]));
  const switching = g.platform.hold('switch a v1');
  const result = g.ensure();
  await switching.reached;
  assert.equal(await isDone(result), false);
  assert.equal(g.serving(), 'v1 starting');
  switching.open();
  await result;
  await turns();
  assert.equal(g.serving(), 'v1 ready');
});

test('strict: a stable address that never settles ends the start with an error', async (t) => {
  const g = ground(t, appRecord([fresh(1, { config: { container: { start_deadline_secs: 10 } } })]));
  const switching = g.platform.hold('switch a v1');
  const result = g.ensure();
  await switching.reached;
  await turns();
  g.clock.advance(60_000);
  await assert.rejects(result, { code: 'platform_error' });
});

test('relaxed: calls go on when one target answers, and the stable address is tried until it follows', async (t) => {
  const g = ground(t, appRecord([fresh(1, { config: { kubernetes: { strict_version_check: false } } })]));
  g.platform.fail('switch a v1', away);
  await g.ensure();
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  g.platform.mend('switch a v1');
  g.clock.advance(1_000);
  await until(() => g.count('switch a v1') === 2, 'a second try');
});

test('a superseded switch does not move the stable address back to an older version', async (t) => {
  const relaxed = { config: { kubernetes: { strict_version_check: false } } };
  const g = ground(t, appRecord([fresh(1, relaxed)]));
  g.platform.fail('switch a v1', away);
  await g.ensure();
  await turns();
  g.declare(fresh(2, relaxed));
  await g.ensure();
  g.platform.mend('switch a v1');
  g.clock.advance(60_000);
  await turns();
  assert.equal(g.count('switch a v1'), 1);
  assert.equal(g.count('switch a v2'), 1);
});

test('a version that answers in the moment it is superseded does not become live again', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2), { live: 1, pending: 2 });
  const start = g.platform.hold('start a v2', { deaf: true });
  const pending = g.ensure(2);
  await start.reached;
  start.open();
  const third = fresh(3);
  g.declare(third);
  await assert.rejects(pending, { code: 'superseded' });
  await turns();
  assert.equal(g.machine.record.live, 3);
  await g.ensure();
  await turns();
  assert.equal(g.serving(), 'v3 ready');
});

test('a start that ends late, after it was superseded, leaves the start of the newer version alone', async (t) => {
  const g = ground(t, appRecord([fresh(1)]));
  const old = g.platform.hold('start a v1', { deaf: true });
  const first = g.ensure();
  await old.reached;
  g.declare(fresh(2));
  const start = g.platform.hold('start a v2');
  const second = g.ensure();
  await start.reached;
  old.open();
  await assert.rejects(first, { code: 'superseded' });
  await turns();
  assert.equal(g.serving(), 'v2 starting');
  assert.equal(g.ensure() !== undefined && g.count('start a v2'), 1);
  start.open();
  assert.equal((await second).version, 2);
});

test('a version whose start was cut is discarded', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2));
  const start = g.platform.hold('start a v2', { deaf: true });
  const cut = g.ensure();
  await start.reached;
  g.declare(fresh(3));
  await g.ensure();
  start.open(); // It answers all the same, after everything else is done.
  await assert.rejects(cut, { code: 'superseded' });
  await g.lookAround();
  assert.deepEqual(g.platform.targets('a', 2), []);
  assert.ok(g.count('discard a v2') >= 1);
});

test('the old version ends only when routers have acknowledged the new route and its calls have ended', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  const calls = Promise.withResolvers<number>();
  g.inFlight.set(1, calls.promise);
  g.declare(fresh(2));
  await g.ensure();
  await turns();
  assert.equal(g.count('stop a v1'), 0);
  calls.resolve(0);
  await until(() => g.count('stop a v1') === 1, 'the stop of version 1');
});

test('a rollback to a version that still drains serves it, and does not end it', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  const calls = Promise.withResolvers<number>();
  g.inFlight.set(1, calls.promise);
  g.declare(fresh(2));
  await g.ensure();
  await turns();
  g.declare(good(1));
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  calls.resolve(1);
  await g.lookAround();
  assert.equal(g.count('stop a v1'), 0);
  assert.equal(g.serving(), 'v1 ready');
  assert.ok(g.count('switch a v1') >= 2, 'the stable address leads back to version 1');
});

test('a rollback to a version that is already being ended starts it again', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2));
  const stop = g.platform.hold('stop a v1', { deaf: true });
  await g.ensure();
  await stop.reached;
  g.platform.answers('a', 1); // not gone yet
  g.declare(good(1));
  await turns();
  assert.notEqual(g.serving(), 'v1 ready');
  const back = g.ensure();
  stop.open();
  assert.equal((await back).version, 1);
  await turns();
  assert.equal(g.serving(), 'v1 ready');
});

test('a failed update: the previous version is live again, the failure is kept with its logs, the failed one is removed', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2));
  g.platform.fail('start a v2', crashed);
  await assert.rejects(g.ensure(), { code: 'app_crashed' });
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  assert.equal(g.machine.record.live, 1);
  assert.deepEqual(g.machine.record.versions.get(2)?.failure?.logs, ['boom']);
  assert.deepEqual(g.written.at(-1)?.pointers, { live: 1, pending: null, good: 1, generation: 2 });
  await until(() => g.count('discard a v2') === 1, 'the removal of version 2');
});

test('a failed update returns to a version that drains without ending it', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.inFlight.set(1, new Promise(() => undefined));
  g.declare(fresh(2));
  await idleDown(g); // The old one is being taken away, its calls have not ended.
  g.platform.fail('start a v2', crashed);
  await assert.rejects(g.ensure());
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  g.inFlight.clear();
  await g.lookAround();
  assert.equal(g.count('stop a v1'), 0);
});

test('on_failed_update = "fail": calls get the failure until someone acts, and no clock retries', async (t) => {
  const spec = { config: { on_failed_update: 'fail' } } as const;
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2, spec));
  g.platform.fail('start a v2', crashed);
  await assert.rejects(g.ensure());
  g.clock.advance(600_000);
  await turns();
  assert.equal(g.serving(), 'v2 failed');
  g.platform.mend('start a v2');
  g.machine.retry();
  g.machine.publish();
  await turns();
  assert.equal(g.serving(), 'v2 updating');
  await g.ensure();
  await turns();
  assert.equal(g.serving(), 'v2 ready');
});

test('on_failed_update = "fail" holds for the next leader too', async (t) => {
  const spec = specOf({ config: { on_failed_update: 'fail' } });
  const failure: Failure = { code: 'app_crashed', phase: 'start', owner: 'app', message: '', logs: [], at: '' };
  const g = ground(t, appRecord([good(1), versionRecord(2, { spec, outcome: 'failed', failure })]));
  g.machine.adopt();
  await turns();
  assert.equal(g.serving(), 'v2 failed');
});

test('a first version that failed may be tried again, later each time', async (t) => {
  const g = ground(t, appRecord([fresh(1)]));
  g.platform.fail('start a v1', crashed);
  await assert.rejects(g.ensure());
  await turns();
  assert.equal(g.serving(), 'v1 failed');
  g.clock.advance(5_000);
  await turns();
  assert.equal(g.serving(), 'v1 asleep');
  await assert.rejects(g.ensure());
  g.clock.advance(5_000);
  await turns();
  assert.equal(g.serving(), 'v1 failed');
  g.clock.advance(5_000);
  await turns();
  assert.equal(g.serving(), 'v1 asleep');
});

test('a fault of the platform is tried through, up to the start deadline and no longer', async (t) => {
  const g = ground(t, appRecord([fresh(1, { config: { container: { start_deadline_secs: 10 } } })]));
  g.platform.fail('start a v1', away);
  const result = g.ensure();
  for (let second = 0; second < 9; second += 1) {
    await turns();
    g.clock.advance(1_000);
  }
  assert.equal(await isDone(result), false);
  for (let second = 0; second < 5; second += 1) {
    await turns();
    g.clock.advance(1_000);
  }
  await assert.rejects(result, { code: 'platform_error' });
});

test('a version that has answered before is tried three times', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  g.platform.fail('start a v1', crashed);
  const result = g.ensure();
  for (let second = 0; second < 5; second += 1) {
    await turns();
    g.clock.advance(2_000);
  }
  await assert.rejects(result);
  assert.equal(g.count('start a v1'), 3);
});

test('while others answer, a suspect that cannot be looked at fails no call', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  const suspect = g.platform.answers('a', 1);
  g.platform.fail('start a v1', away);
  g.platform.fail('switch a v1', away);
  const result = g.ensure(1, [suspect.id]);
  for (let second = 0; second < 130; second += 1) {
    await turns(5);
    g.clock.advance(1_000);
  }
  await assert.rejects(result, { code: 'platform_error' });
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  assert.deepEqual(g.platform.suspects.at(-1), [suspect.id]);
});

test('a probe of a suspect target of a served version does not wait for the stable address', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  const suspect = g.platform.answers('a', 1);
  const switching = g.platform.hold('switch a v1');
  await g.ensure(1, [suspect.id]);
  switching.open();
});

test('targets that die and come back are pushed to routers', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.platform.dies('a', 1);
  await turns();
  assert.equal(g.serving(), 'v1 starting');
  g.platform.answers('a', 1);
  await turns();
  assert.equal(g.serving(), 'v1 ready');
});

test('an idle app is drained, goes to zero, and the next call wakes it', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  await idleDown(g);
  await until(() => g.count('stop a v1') === 1, 'zero');
  assert.equal(g.serving(), 'v1 asleep');
  await g.ensure();
  await turns();
  assert.equal(g.serving(), 'v1 ready');
});

test('nothing goes to zero before every router has acknowledged, and a call meanwhile takes it back', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.router.acknowledges = false;
  await idleDown(g);
  assert.equal(g.serving(), 'v1 draining');
  assert.equal((await g.ensure()).targets, 1);
  g.router.acknowledges = true;
  await g.lookAround();
  assert.equal(g.serving(), 'v1 ready');
  assert.equal(g.count('stop a v1'), 0);
});

test('a call that is in flight when an idle app is drained keeps it awake', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.inFlight.set(1, Promise.resolve(1));
  await idleDown(g);
  assert.equal(g.serving(), 'v1 ready');
  assert.equal(g.count('stop a v1'), 0);
});

test('a router that cannot be asked, or has used the app since its last report, keeps an idle app awake', async (t) => {
  // Busy: on a target that the app no longer has, such as a pod that is not ready any more.
  for (const released of [{ unasked: 1 }, { busy: true }, { bytes: 2_000, idleMs: 500 }]) {
    const g = ground(t, appRecord([good(1)]));
    await g.ensure();
    g.state.released = released;
    await idleDown(g);
    assert.equal(g.serving(), 'v1 ready');
    g.state.released = {};
    await idleDown(g);
    await until(() => g.count('stop a v1') === 1, 'zero');
  }
});

test('a router that comes while the others are asked keeps an idle app awake, since it may not hold yet', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  const answer = Promise.withResolvers<number>();
  g.inFlight.set(1, answer.promise);
  await idleDown(g);
  const late = createTestRouter(g.hub, 'late', () => g.clock.nowMs());
  late.acknowledges = false;
  answer.resolve(0);
  await until(() => g.serving() === 'v1 ready', 'the end of the drain');
  assert.equal(g.count('stop a v1'), 0);
  late.acknowledges = true;
  await late.leave();
});

test('calls that are left on an app that has just gone to zero take it back before anything is ended', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  const second = Promise.withResolvers<number>();
  g.state.answers.push(Promise.resolve(0), second.promise);
  await idleDown(g);
  await until(() => g.serving() === 'v1 asleep', 'zero');
  second.resolve(1);
  await until(() => g.serving() === 'v1 ready', 'the call that is left');
  await g.lookAround();
  assert.equal(g.count('stop a v1'), 0);
});

test('a call that arrives while the app is being stopped waits for that and starts it again', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  const stop = g.platform.hold('stop a v1', { deaf: true });
  await idleDown(g);
  await stop.reached;
  const woken = g.ensure();
  assert.equal(await isDone(woken), false);
  stop.open();
  assert.equal((await woken).targets, 1);
});

test('an app whose clean-up failed is cleaned up later, though calls never stop', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.platform.fail('stop a v1', away);
  g.declare(fresh(2));
  await g.ensure();
  await turns();
  assert.equal(g.count('stop a v1'), 1);
  g.platform.mend('stop a v1');
  await g.lookAround();
  assert.ok(g.count('stop a v1') >= 2);
});

test('old versions of an app that never goes to zero are discarded too', async (t) => {
  const never = { config: { container: { idle_shutdown_secs: 0 } } };
  const g = ground(t, appRecord([good(1, never)]));
  await g.ensure();
  g.platform.fail('stop a v1', away);
  g.declare(fresh(2, never));
  await g.ensure();
  await turns();
  g.platform.mend('stop a v1');
  await g.lookAround();
  assert.ok(g.count('stop a v1') >= 2);
});

test('update.hold = false: the old version answers until the new one does, then the live version moves', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2), { live: 1, pending: 2 });
  const start = g.platform.hold('start a v2');
  const result = g.ensure(2);
  await start.reached;
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  start.open();
  await result;
  await turns();
  assert.equal(g.serving(), 'v2 ready');
  assert.deepEqual(g.written.at(-1)?.pointers, { live: 2, pending: null, good: 2, generation: 2 });
  assert.ok(!g.router.history.includes('a v1 hold') || g.router.history.lastIndexOf('a v1 hold') < 2);
});

test('update.hold = false: a new version that fails leaves the old one answering', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2), { live: 1, pending: 2 });
  g.platform.fail('start a v2', crashed);
  await assert.rejects(g.ensure(2), { code: 'app_crashed' });
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  assert.equal(g.machine.record.pending, null);
  assert.equal(g.machine.record.versions.get(2)?.outcome, 'failed');
});

test('update.hold = false: a restart of the old version that is under way does not undo the switch to the new one', async (t) => {
  for (const outcome of ['open', 'fail'] as const) {
    await t.test(outcome, async (sub) => {
      const g = ground(sub, appRecord([good(1, { config: { on_failed_update: 'fail' } })]));
      await g.ensure();
      g.declare(fresh(2, { config: { on_failed_update: 'fail' } }), { live: 1, pending: 2 });
      g.platform.dies('a', 1);
      const old = g.platform.hold('start a v1', { deaf: true });
      const restart = g.ensure(1);
      await old.reached;
      await g.ensure(2);
      if (outcome === 'open') old.open();
      else old.fail(crashed);
      await assert.rejects(restart, { code: 'superseded' });
      await turns();
      assert.equal(g.serving(), 'v2 ready');
      assert.equal(g.machine.record.good, 2);
      await g.lookAround();
      assert.deepEqual(g.platform.targets('a', 1), []);
      assert.equal(g.serving(), 'v2 ready');
    });
  }
});

test('update.hold = false: when the old version can no longer run, the new one is tried', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2), { live: 1, pending: 2 });
  g.platform.dies('a', 1);
  g.platform.fail('start a v1', crashed);
  const restart = g.ensure(1);
  for (let second = 0; second < 5; second += 1) {
    await turns();
    g.clock.advance(2_000);
  }
  await assert.rejects(restart);
  await turns();
  assert.equal(g.serving(), 'v2 updating');
  await g.ensure();
  await turns();
  assert.equal(g.serving(), 'v2 ready');
});

test('update.hold = false: a start of the new version that is asked for while the app drains keeps it awake', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.declare(fresh(2), { live: 1, pending: 2 });
  g.router.acknowledges = false;
  await idleDown(g);
  const start = g.platform.hold('start a v2');
  const result = g.ensure(2);
  await start.reached;
  g.router.acknowledges = true;
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  start.open();
  await result;
  await turns();
  assert.equal(g.serving(), 'v2 ready');
  assert.equal(g.count('start a v2'), 1);
});

test('update.hold = false: an app that fell asleep while it was declared starts the new version at once', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  g.declare(fresh(2), { live: 1, pending: 2 });
  assert.equal(g.machine.record.live, 2);
  await g.ensure();
  assert.equal(g.count('start a v1'), 0);
});

test('a volume has one writer: the old version has ended before the new one starts', async (t) => {
  const volumes = { volumes: [{ name: 'data', path: '/data' }] };
  const g = ground(t, appRecord([good(1, volumes)]));
  await g.ensure();
  g.declare(fresh(2, volumes));
  const stop = g.platform.hold('stop a v1');
  const result = g.ensure();
  await stop.reached;
  assert.equal(g.count('start a v2'), 0);
  stop.open();
  await result;
});

test('a start that waits for an old version with a volume is cut when the app is declared again', async (t) => {
  const volumes = { volumes: [{ name: 'data', path: '/data' }] };
  const g = ground(t, appRecord([good(1, volumes)]));
  await g.ensure();
  g.declare(fresh(2, volumes));
  const stop = g.platform.hold('stop a v1', { deaf: true });
  const second = g.ensure();
  await stop.reached;
  g.declare(fresh(3, volumes));
  stop.open();
  await assert.rejects(second, { code: 'superseded' });
  assert.equal(g.count('start a v2'), 0);
});

test('after a failover, what an unknown router may still call is left until a lease has passed', async (t) => {
  const clock = createManualClock();
  const platform = createFakePlatform();
  const hub = new RouteHub({ clock, leaseMs: 1_000, log: silentLog });
  const machine = new AppMachine(
    {
      platform,
      hub,
      isIdle: () => true,
      keepAwake: createKeepAwake(() => 0),
      metrics: silentMetrics,
      onChange: () => undefined,
      release: async () => releasedOf(0),
      outbox: { add: () => undefined },
      defaults,
      clock,
      log: silentLog,
    },
    appRecord([good(1), good(2)]),
  );
  t.after(async () => {
    await machine.close();
    hub.close();
  });
  platform.answers('a', 1);
  platform.answers('a', 2);
  machine.adopt();
  machine.look();
  await turns();
  assert.equal(platform.targets('a', 1).length, 1);
  clock.advance(1_000);
  await until(() => platform.targets('a', 1).length === 0, 'the end of version 1');
  assert.equal(platform.targets('a', 2).length, 1);
});

test('after a failover nothing is done to apps that do not run', async (t) => {
  const g = ground(t, appRecord([good(1), good(2)]));
  g.machine.adopt();
  assert.equal(g.machine.look(), 'change');
  g.state.idle = true;
  await idleDown(g);
  assert.deepEqual(g.platform.steps, []);
});

test('an app with min_replicas never goes to zero, also when a new leader finds it silent', async (t) => {
  const g = ground(t, appRecord([good(1, { min_replicas: 1 })]));
  g.machine.adopt();
  await idleDown(g);
  await idleDown(g);
  assert.equal(g.count('stop a v1'), 0);
});

test('an app with min_replicas runs again without a call: after a failover, an update, a rollback', async (t) => {
  const spec = { min_replicas: 1 };
  const g = ground(t, appRecord([good(1, spec)]));
  g.machine.adopt();
  g.machine.look();
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  assert.equal(g.machine.view().keptAwake, 'min_replicas');
  g.declare(fresh(2, spec));
  g.machine.look();
  await turns();
  assert.equal(g.serving(), 'v2 ready');
  g.declare(good(1, spec));
  g.machine.look();
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  g.declare(fresh(3, spec), { live: 1, pending: 3 });
  g.machine.look();
  await turns();
  assert.equal(g.serving(), 'v3 ready');
});

test('an app with min_replicas that was never called waits for its first call', async (t) => {
  const g = ground(t, appRecord([fresh(1, { min_replicas: 1 })]));
  g.machine.look();
  await turns();
  assert.deepEqual(g.platform.steps, []);
});

test('an app with min_replicas that crashes is tried again by the pauses of the retry timer, with one event', async (t) => {
  const g = ground(t, appRecord([good(1, { min_replicas: 1 })]));
  g.platform.fail('start a v1', crashed);
  for (let second = 0; second < 120; second += 1) {
    g.clock.advance(1_000);
    g.machine.look();
    await turns();
  }
  // Three tries each: 0 s, and then after 5, 10, 20 and 40 s of pause.
  assert.ok(g.count('start a v1') <= 18, `${g.count('start a v1')} starts`);
  const woken = g.written.flatMap(({ events }) => events).filter(({ kind }) => kind === 'app.woken');
  assert.equal(woken.length, 1);
});

test('running hours: woken at their beginning, kept awake until their end, and then idle as ever', async (t) => {
  const config = { container: { running_hours: ['Mon-Fri 08:00-18:00 Europe/Berlin'] } };
  const g = ground(t, appRecord([good(1, { config })]));
  g.state.wallMs = Date.parse('2026-01-05T06:59:59Z');
  assert.equal(g.machine.look(), 'minute');
  await turns();
  assert.deepEqual(g.platform.steps, []);
  g.state.wallMs += 1_000;
  g.machine.look();
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  await idleDown(g);
  assert.equal(g.serving(), 'v1 ready');
  assert.equal(g.machine.view().keptAwake, 'running_hours');
  g.state.wallMs = Date.parse('2026-01-05T17:00:00Z');
  await idleDown(g);
  await until(() => g.count('stop a v1') === 1, 'zero');
});

test('targets that die during the drain handshake are not served again, and a call starts the version again', async (t) => {
  const g = ground(t, appRecord([good(1)]));
  await g.ensure();
  g.router.acknowledges = false;
  await idleDown(g);
  g.platform.dies('a', 1);
  const woken = g.ensure();
  await until(() => g.count('start a v1') === 2, 'a start');
  g.router.acknowledges = true;
  assert.equal((await woken).targets, 1);
  await turns();
  assert.equal(g.serving(), 'v1 ready');
  assert.equal(g.count('stop a v1'), 0);
});

test('when the app is deleted every wait ends and nothing is begun again', async (t) => {
  const g = ground(t, appRecord([fresh(1)]));
  const start = g.platform.hold('start a v1');
  const waiting = g.ensure();
  await start.reached;
  await g.machine.close();
  await assert.rejects(waiting, { code: 'cancelled' });
  await assert.rejects(g.ensure(), { code: 'cancelled' });
  g.clock.advance(600_000);
  await turns();
  assert.equal(g.count('start a v1'), 1);
});

test('an app that is declared again and again keeps a bounded number of versions in memory', (t) => {
  const g = ground(t, appRecord([good(1)]));
  for (let version = 2; version <= 100; version += 1) g.declare(fresh(version));
  assert.ok(g.machine.record.versions.size <= 20, `${g.machine.record.versions.size} versions`);
  assert.ok(g.machine.record.versions.has(1), 'the last good one');
});

const caller = {
  actor: 'router',
  forCall: true,
  cause: { router: 'r', method: 'GET', host: 'h', path: '/a', userAgent: 'x', client: '192.0.2.1', requestId: '1' },
};

test('only a start from zero is a wake: not a first one, not one after an update, not a repair', async (t) => {
  const wake = { max_per_hour: 1 };
  const g = ground(t, appRecord([fresh(1, { config: { wake } })]));
  const call = (): Promise<EnsureResult> =>
    g.machine.ensure({ version: undefined, suspects: [], by: caller, onProgress: () => undefined, signal: t.signal });
  await call();
  g.platform.dies('a', 1);
  await call();
  g.declare(fresh(2, { config: { wake } }));
  await call();
  await idleDown(g);
  g.declare(fresh(3, { config: { wake } }));
  await call();
  await idleDown(g);
  await call();
  await idleDown(g);
  await assert.rejects(call(), { code: 'wake_budget_exhausted' });
  assert.equal(g.serving(), 'v3 asleep');
  assert.deepEqual(
    g.written.flatMap(({ events }) => events).flatMap(({ kind }) => (/woken|wakes|called/.test(kind) ? [kind] : [])),
    ['version.called', 'version.called', 'version.called', 'app.woken', 'app.wakes_exhausted'],
  );
  assert.equal((await g.ensure()).version, 3);
});
