/** What keeps an app awake, and what does not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppSpecInput } from '../../../shared/protocol/app-spec.ts';
import { eventually } from '../../../shared/wait/testing/eventually.ts';
import { callAtOnce, outcomes, startLoad } from '../../support/load.ts';
import { Stack, testAppFolder } from '../stack.ts';

function app(name: string, more: Partial<AppSpecInput> = {}): AppSpecInput {
  return { name, path: `/${name}`, source: testAppFolder, ...more };
}

test('an app with min_replicas waits for its first call, and then runs without one: after an update, a rollback, a crash of the agent', async (t) => {
  const stack = await Stack.start(t);
  const isReady = async (version: number): Promise<void> => {
    await eventually(20_000, async () => {
      const view = await stack.call('apps.get', { app: 'a' });
      assert.deepEqual(
        [view.state, view.liveVersion, view.targets, view.keptAwake],
        ['ready', version, 2, 'min_replicas'],
      );
    });
  };
  const steady = { min_replicas: 2, config: { container: { idle_shutdown_secs: 0.2 } } };
  await stack.call('apps.apply', { apps: [app('a', { ...steady, env: { VERSION: '1' } })] });
  assert.equal((await stack.call('apps.get', { app: 'a' })).state, 'asleep');
  assert.deepEqual(outcomes(await callAtOnce(`${stack.routerUrls[0]}/a/`, 1)), { 200: 1 });
  await isReady(1);
  await stack.call('apps.apply', { apps: [app('a', { ...steady, env: { VERSION: '2' } })] });
  await isReady(2);
  await stack.call('versions.rollback', { app: 'a' });
  await isReady(1);
  await stack.kill('agent', 'SIGKILL');
  await stack.spawn('agent');
  await stack.settled();
  await isReady(1);
  const kinds = (await stack.call('events.list', { app: 'a' })).events.map(({ kind }) => kind);
  assert.ok(kinds.includes('app.woken'));
  assert.ok(!kinds.includes('app.asleep'));
});

test('small calls, as of an uptime monitor, do not keep an app awake, unless every call is to', async (t) => {
  const stack = await Stack.start(t);
  const idle = (idle_bytes_high_watermark: number): Partial<AppSpecInput> => ({
    config: { container: { idle_shutdown_secs: 2, idle_bytes_high_watermark } },
  });
  await stack.call('apps.apply', { apps: [app('monitored', idle(100_000)), app('used', idle(0))] });
  const names = ['monitored', 'used'];
  const load = startLoad({
    urls: stack.routerUrls.flatMap((url) => names.map((name) => `${url}/${name}/healthz`)),
    callsPerSecond: 20,
  });
  t.after(() => load.stop());
  const slept = async (name: string): Promise<boolean> =>
    (await stack.call('events.list', { app: name })).events.some(({ kind }) => kind === 'app.asleep');
  await eventually(30_000, async () => assert.ok(await slept('monitored')));
  assert.equal(await slept('used'), false);
  assert.deepEqual(Object.keys(outcomes(await load.stop())), ['200']);
});

test('running hours in a zone that is not known are refused by apply, which names the key', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  const running_hours = ['Mon-Fri 08:00-18:00 Europe/Atlantis'];
  await assert.rejects(stack.call('apps.apply', { apps: [app('a', { config: { container: { running_hours } } })] }), {
    code: 'invalid_params',
    message: /running_hours.*Europe\/Atlantis/,
  });
});

test('an app in its running hours stays awake, and is woken without a call once it has had one', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  const container = { idle_shutdown_secs: 0.2, running_hours: ['Mon-Sun 00:00-24:00'] };
  await stack.call('apps.apply', { apps: [app('a', { config: { container } })] });
  assert.deepEqual(outcomes(await callAtOnce(`${stack.routerUrls[0]}/a/`, 1)), { 200: 1 });
  await stack.call('apps.apply', { apps: [app('a', { config: { container }, env: { VERSION: '2' } })] });
  await eventually(20_000, async () => {
    const { state, liveVersion, keptAwake } = await stack.call('apps.get', { app: 'a' });
    assert.deepEqual([state, liveVersion, keptAwake], ['ready', 2, 'running_hours']);
  });
});
