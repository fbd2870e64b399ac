import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { AppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { createFakePlatform } from '../../testing/fake-platform.ts';
import { Leftovers } from './leftovers.ts';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import { turns } from '../../../shared/wait/testing/until.ts';
import { isDone, releasedOf } from '../../testing/versions.ts';

function ground(t: TestContext) {
  const platform = createFakePlatform();
  const end = new AbortController();
  const clock = createManualClock();
  const calls = {
    release: Promise.resolve(0),
    kept: new Set<number>(),
    unknown: [] as boolean[],
    spared: new Set<number>(),
    settled: true,
    busy: [] as number[],
  };
  const leftovers: Leftovers = new Leftovers({
    app: 'a',
    platform,
    hub: {
      async settled() {
        calls.unknown.push(true);
        return { acknowledged: 0, expired: 0 };
      },
      async settledAtKnown() {
        calls.unknown.push(false);
        return { acknowledged: 0, expired: 0 };
      },
      isSettled: () => calls.settled,
    },
    plan: () => ({
      spared: calls.spared,
      isKept: (version) => calls.kept.has(version),
      revision: 1,
      onBusy: (version) => {
        if (calls.busy.includes(version)) leftovers.takeBack(version);
      },
      drainMs: 30_000,
    }),
    release: async (_app, _targets, _waitMs, signal) => {
      const cut = Promise.withResolvers<never>();
      signal.addEventListener('abort', () => cut.reject(signal.reason as Error), { once: true });
      return releasedOf(await Promise.race([calls.release, cut.promise]));
    },
    clock,
    log: silentLog,
    signal: end.signal,
  });
  const clear = (...spared: number[]): Promise<void> => {
    calls.spared = new Set(spared);
    return leftovers.clear();
  };
  t.after(() => {
    end.abort(new AppError('cancelled', 'the test is over'));
    return leftovers.idle();
  });
  return { clock, platform, leftovers, clear, calls, end };
}

test('a kept version stays at zero, another one is removed, a spared one is left alone', async (t) => {
  const { leftovers, clear, calls, platform } = ground(t);
  for (const version of [1, 2, 3]) leftovers.add(version);
  calls.kept.add(2);
  await clear(3);
  assert.deepEqual(platform.steps.toSorted(), ['discard a v1', 'stop a v2']);
  await clear();
  assert.equal(platform.steps.at(-1), 'discard a v3');
  assert.equal(leftovers.any, false);
});

test('only what answers waits for routers that are not back yet', async (t) => {
  const { leftovers, clear, calls, platform } = ground(t);
  leftovers.add(1);
  await clear();
  platform.answers('a', 2);
  leftovers.add(2);
  await clear();
  assert.deepEqual(calls.unknown, [false, true]);
});

test('nothing ends while calls are in flight, and a start of the version takes it back', async (t) => {
  const { leftovers, clear, calls, platform } = ground(t);
  platform.answers('a', 1);
  calls.release = new Promise(() => undefined);
  leftovers.add(1);
  const cleared = clear();
  await turns();
  await leftovers.reclaim(1);
  await cleared;
  assert.deepEqual(platform.steps, []);
  assert.equal(leftovers.any, false);
});

test('a version that is served again is not ended; one that is being ended cannot be served as it is', async (t) => {
  const { leftovers, clear, calls, platform } = ground(t);
  platform.answers('a', 1);
  const busy = Promise.withResolvers<number>();
  calls.release = busy.promise;
  leftovers.add(1);
  const cleared = clear();
  await turns();
  assert.equal(leftovers.takeBack(1), true);
  busy.resolve(0);
  await cleared;
  assert.deepEqual(platform.steps, []);

  const ending = platform.hold('discard a v1', { deaf: true });
  calls.release = Promise.resolve(0);
  leftovers.add(1);
  const gone = clear();
  await ending.reached;
  assert.equal(leftovers.takeBack(1), false);
  const reclaimed = leftovers.reclaim(1);
  assert.equal(await isDone(reclaimed), false);
  ending.open();
  await Promise.all([gone, reclaimed]);
});

test('what the platform refuses is tried by the next clear', async (t) => {
  const { leftovers, clear, platform } = ground(t);
  platform.fail('discard a v1', new AppError('platform_error', 'the API server is away'));
  leftovers.add(1);
  await clear();
  assert.equal(leftovers.any, true);
  platform.mend('discard a v1');
  await clear();
  assert.equal(leftovers.any, false);
});

test('a version that is no longer kept when it has come to zero is removed by the next clear', async (t) => {
  const { leftovers, clear, calls, platform } = ground(t);
  calls.kept.add(1);
  const stop = platform.hold('stop a v1');
  leftovers.add(1);
  const cleared = clear();
  await stop.reached;
  calls.kept.delete(1);
  leftovers.add(1);
  stop.open();
  await cleared;
  await clear();
  assert.equal(platform.steps.at(-1), 'discard a v1');
});

test('a second clear joins the tasks under way', async (t) => {
  const { leftovers, clear, platform } = ground(t);
  const discard = platform.hold('discard a v1');
  leftovers.add(1);
  const both = Promise.all([clear(), clear()]);
  await discard.reached;
  assert.equal(await isDone(both), false);
  discard.open();
  await both;
  assert.deepEqual(platform.steps, ['discard a v1']);
});

test('at the end of the lead every task ends, and no further version is stopped', async (t) => {
  const { leftovers, clear, calls, platform, end } = ground(t);
  platform.answers('a', 1);
  calls.release = new Promise(() => undefined);
  leftovers.add(1);
  const cleared = clear();
  await turns();
  end.abort(new AppError('cancelled', 'the agent stops'));
  await cleared;
  await clear();
  assert.deepEqual(platform.steps, []);
});

test('nothing ends while a router has come or been lost since it was settled: all are asked again', async (t) => {
  const { leftovers, clear, calls, platform, clock } = ground(t);
  platform.answers('a', 1);
  leftovers.add(1);
  calls.settled = false;
  const cleared = clear();
  await turns();
  assert.deepEqual(platform.steps, []);
  calls.settled = true;
  clock.advance(200);
  await cleared;
  assert.equal(platform.steps.length, 1);
});

test('a router that can never be asked is waited for as long as calls in flight are', async (t) => {
  const { leftovers, clear, calls, platform, clock } = ground(t);
  platform.answers('a', 1);
  leftovers.add(1);
  calls.settled = false;
  const cleared = clear();
  for (let step = 0; step < 149; step += 1) {
    await turns();
    clock.advance(200);
  }
  assert.deepEqual(platform.steps, []);
  await turns();
  clock.advance(200);
  await cleared;
  assert.equal(platform.steps.length, 1);
});
