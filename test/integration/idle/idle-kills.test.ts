/** What dies, or hangs, while an app goes to zero or is woken: no call that waits in a router that lives is lost. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { eventually } from '../../../shared/wait/testing/eventually.ts';
import { callAtOnce, outcomes } from '../../support/load.ts';
import { Stack, testAppFolder } from '../stack.ts';
import { startWatchingRouter, type Step, type WatchingRouter } from '../../support/idle/watching-router.ts';

async function ground(t: TestContext, more: { readonly MODE?: string; readonly DELAY_MS?: string } = {}) {
  const stack = await Stack.start(t);
  const watch = async (delayMs: number): Promise<WatchingRouter> => {
    const watching = await startWatchingRouter({
      agentUrl: stack.agentUrl,
      token: stack.token,
      delayMs: () => delayMs,
    });
    t.after(() => watching.close());
    return watching;
  };
  const config = { container: { idle_shutdown_secs: 0.2 } };
  const env = { ABRUPT: '1', ...more };
  await stack.call('apps.apply', { apps: [{ name: 'a', path: '/a', source: testAppFolder, env, config }] });
  const call = async (router: number, count = 1): Promise<Record<string, number>> =>
    outcomes(await callAtOnce(`${stack.routerUrls[router]}/a/`, count));
  /** Calls the app. @returns its process. */
  const pid = async (): Promise<number> => {
    const [record] = await callAtOnce(`${stack.routerUrls[0]}/a/`, 1);
    return (JSON.parse(record?.body ?? '{}') as { pid: number }).pid;
  };
  const state = async (): Promise<string> => (await stack.call('apps.get', { app: 'a' })).state;
  return { stack, watch, call, pid, state };
}

/** What is sent to a process that is about to die is lost, as with any crash. */
async function untilDead(pid: number): Promise<void> {
  await eventually(20_000, () => assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' }));
}

for (const step of ['draining', 'asked', 'asleep'] satisfies Step[]) {
  test(`an agent that is killed when a drain has come to "${step}": calls wait for the next one, and are answered`, async (t) => {
    const { stack, watch, call } = await ground(t);
    const watching = await watch(step === 'asleep' ? 0 : 100);
    // What it was before its first call was asleep, too.
    const came = watching.next('a', 'ready', 20_000).then(() => watching.next('a', step, 20_000));
    assert.deepEqual(await call(0), { 200: 1 });
    assert.equal(await came, true);
    await stack.kill('agent', 'SIGKILL');
    const held = Promise.all([call(0, 10), call(1, 10)]);
    await stack.spawn('agent');
    assert.deepEqual(await held, [{ 200: 10 }, { 200: 10 }]);
  });
}

test('a router that is killed in a wake takes its own calls with it and no others, and does not keep the app awake for ever', async (t) => {
  const { stack, call, state } = await ground(t, { MODE: 'slow', DELAY_MS: '1500' });
  const [lost, kept] = [call(0, 10), call(1, 10)];
  await eventually(10_000, async () => assert.equal(await state(), 'starting'));
  await stack.kill('router0', 'SIGKILL');
  assert.deepEqual(await kept, { 200: 10 });
  assert.equal((await lost)['200'], undefined);
  await eventually(20_000, async () => assert.equal(await state(), 'asleep'));
  assert.deepEqual(await call(1), { 200: 1 });
});

test('a router that hangs while an app is drained is waited for until its lease has run out, and serves again after that', async (t) => {
  const { stack, watch, call, pid, state } = await ground(t);
  const watching = await watch(0);
  const came = watching.next('a', 'draining', 20_000);
  const running = await pid();
  stack.signal('router1', 'SIGSTOP');
  t.after(() => stack.signal('router1', 'SIGCONT'));
  assert.equal(await came, true);
  assert.equal(await state(), 'draining');
  assert.deepEqual(await call(0), { 200: 1 }, 'a call takes the app back meanwhile');
  await eventually(20_000, async () => assert.equal(await state(), 'asleep'));
  await untilDead(running);
  const held = call(1, 5);
  stack.signal('router1', 'SIGCONT');
  assert.deepEqual(await held, { 200: 5 });
});

test('an app that dies while it is drained, or asleep, is simply started by the next call', async (t) => {
  const { watch, call, pid, state } = await ground(t);
  const watching = await watch(300);
  const came = watching.next('a', 'draining', 20_000);
  const running = await pid();
  assert.equal(await came, true);
  process.kill(running, 'SIGKILL');
  await untilDead(running);
  assert.deepEqual(await call(1, 5), { 200: 5 });
  await eventually(20_000, async () => assert.equal(await state(), 'asleep'));
  assert.deepEqual(await call(0, 5), { 200: 5 });
});
