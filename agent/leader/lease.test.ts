import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { Kinds } from '../kube/kinds.ts';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { KubeApiError } from '../kube/errors.ts';
import { createLeaseElection, type LeaseApi } from './lease.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';

/** One Lease with the API server's rules for resourceVersion, and agents that stand for election. */
function setUp(t: TestContext) {
  const clock = createManualClock(0);
  const cutOff = new Set<string>();
  let stored: Kinds['Lease'] | undefined;
  let revision = 0;

  function write(lease: Kinds['Lease'], isNew: boolean): Kinds['Lease'] {
    if (isNew ? stored !== undefined : stored?.metadata?.resourceVersion !== lease.metadata?.resourceVersion) {
      throw new KubeApiError(409, 'Conflict', 'changed meanwhile');
    }
    revision += 1;
    stored = { ...lease, metadata: { ...lease.metadata, resourceVersion: String(revision) } };
    return stored;
  }

  function apiOf(connection: string): LeaseApi {
    const ask = async <T>(signal: AbortSignal, answer: () => T): Promise<T> => {
      await Promise.resolve();
      signal.throwIfAborted();
      if (cutOff.has(connection)) throw new AppError('platform_error', 'away');
      return structuredClone(answer());
    };
    return {
      read: (_kind, _name, { signal }) => ask(signal, () => stored),
      create: (lease, { signal }) => ask(signal, () => write(lease, true)),
      replace: (lease, { signal }) => ask(signal, () => write(lease, false)),
    };
  }

  function agent(identity: string, { connection = identity } = {}) {
    const stop = new AbortController();
    const log: string[] = [];
    let leads = false;
    let giveUp: (() => void) | undefined;
    const election = createLeaseElection({
      api: apiOf(connection),
      namespace: 'holdfast',
      leaseName: 'agent',
      identity,
      log: silentLog,
      clock,
    });
    const running = election.run(stop.signal, async (lost) => {
      leads = true;
      log.push(`leads at ${String(clock.nowMs())}`);
      await new Promise<void>((resolve) => {
        giveUp = resolve;
        lost.addEventListener('abort', () => resolve(), { once: true });
      });
      leads = false;
      log.push(`ends at ${String(clock.nowMs())}`);
    });
    const close = async (): Promise<void> => {
      stop.abort();
      await clock.advanceAndSettle(0);
      await running;
    };
    t.after(close);
    return {
      log,
      close,
      leads: () => leads,
      trouble: () => election.trouble(),
      live: () => election.live().ok,
      /** As a process that is killed: no goodbye. */
      kill: () => cutOff.add(connection),
      giveUp: () => giveUp?.(),
    };
  }
  return { clock, agent, cutOff, holder: () => stored?.spec?.holderIdentity, lease: () => stored };
}

test('one of two agents leads, and goes on leading as long as it renews', async (t) => {
  const { clock, agent, holder } = setUp(t);
  const [one, two] = [agent('one'), agent('two')];
  await clock.advanceAndSettle(60_000);
  assert.equal([one, two].filter((each) => each.leads()).length, 1);
  assert.equal(one.log.length + two.log.length, 1);
  assert.equal(holder(), one.leads() ? 'one' : 'two');
});

test('a lease that is given back on a clean stop is taken at once', async (t) => {
  const { clock, agent, lease } = setUp(t);
  const one = agent('one');
  await clock.advanceAndSettle(100);
  const two = agent('two');
  await clock.advanceAndSettle(5_000);
  await one.close();
  assert.equal(lease()?.spec?.holderIdentity, '');
  await clock.advanceAndSettle(500);
  assert.equal(two.leads(), true);
});

test('the lease of an agent that vanished is taken after its duration, not before', async (t) => {
  const { clock, agent } = setUp(t);
  const one = agent('one');
  await clock.advanceAndSettle(100);
  const two = agent('two');
  await clock.advanceAndSettle(900);
  one.kill();
  await clock.advanceAndSettle(5_000);
  assert.equal(two.leads(), false);
  await clock.advanceAndSettle(3_500);
  assert.equal(two.leads(), true);
});

test('a leader that cannot renew steps down before another one leads', async (t) => {
  const { clock, agent, cutOff } = setUp(t);
  const one = agent('one');
  await clock.advanceAndSettle(100);
  const two = agent('two');
  await clock.advanceAndSettle(10_000);
  cutOff.add('one');
  while (!two.leads()) {
    await clock.advanceAndSettle(100);
    assert.ok(!(one.leads() && two.leads()), 'never two');
    assert.ok(clock.nowMs() < 30_000);
  }
  assert.equal(one.leads(), false);
  cutOff.delete('one');
  await clock.advanceAndSettle(20_000);
  assert.equal(one.leads(), false, 'it is a standby now');
});

test('an agent that was only away for a moment leads on', async (t) => {
  const { clock, agent, cutOff } = setUp(t);
  const one = agent('one');
  await clock.advanceAndSettle(1_000);
  cutOff.add('one');
  await clock.advanceAndSettle(2_400);
  cutOff.delete('one');
  await clock.advanceAndSettle(20_000);
  assert.deepEqual(one.log, ['leads at 0']);
});

test('a container that is started again under the same name leads on at once', async (t) => {
  const { clock, agent, holder } = setUp(t);
  const standby = agent('other');
  await clock.advanceAndSettle(100);
  await standby.close();
  const killed = agent('one', { connection: 'first container' });
  await clock.advanceAndSettle(1_000);
  killed.kill();
  const restarted = agent('one', { connection: 'second container' });
  await clock.advanceAndSettle(100);
  assert.equal(restarted.leads(), true);
  assert.equal(holder(), 'one');
});

test('a leader that gives up by itself stands for election again, behind the others', async (t) => {
  const { clock, agent } = setUp(t);
  const one = agent('one');
  await clock.advanceAndSettle(100);
  one.giveUp();
  await clock.advanceAndSettle(1_000);
  assert.deepEqual(one.log, ['leads at 0', 'ends at 100', 'leads at 600']);
});

test('who finds the lease in other hands ends at once', async (t) => {
  const { clock, agent, lease } = setUp(t);
  const one = agent('one');
  await clock.advanceAndSettle(100);
  const found = lease();
  assert.ok(found?.spec && found.metadata);
  Object.assign(found.spec, { holderIdentity: 'somebody' });
  Object.assign(found.metadata, { resourceVersion: 'other' });
  await clock.advanceAndSettle(2_000);
  assert.equal(one.leads(), false);
});

test('an agent that is not answered about the lease for a minute says that it is not live', async (t) => {
  const { clock, agent, cutOff } = setUp(t);
  const [leader, standby] = [agent('one'), agent('two')];
  await clock.advanceAndSettle(120_000);
  assert.deepEqual([leader.live(), standby.live()], [true, true]);
  cutOff.add('one').add('two');
  await clock.advanceAndSettle(50_000);
  assert.deepEqual([leader.live(), standby.live()], [true, true]);
  await clock.advanceAndSettle(15_000);
  assert.deepEqual([leader.live(), standby.live()], [false, false]);
  cutOff.clear();
  await clock.advanceAndSettle(1_000);
  assert.deepEqual([leader.live(), standby.live()], [true, true]);
});

test('while the API server is away every agent says so, and no longer when it is back', async (t) => {
  const { clock, agent, cutOff } = setUp(t);
  const [one, two] = [agent('one'), agent('two')];
  await clock.advanceAndSettle(1_000);
  assert.deepEqual([one.trouble(), two.trouble()], [undefined, undefined]);
  cutOff.add('one').add('two');
  await clock.advanceAndSettle(10_000);
  for (const { trouble } of [one, two]) {
    const error = trouble();
    assert.equal(error?.code, 'platform_unavailable');
    assert.match(error.message, /the Kubernetes API server cannot be reached: away/);
  }
  cutOff.clear();
  await clock.advanceAndSettle(1_000);
  assert.deepEqual([one.trouble(), two.trouble()], [undefined, undefined]);
});
