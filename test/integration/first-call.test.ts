/** The main job on real processes: declare, call, change, fail, idle, crash. No call may fail but by its own app's decision. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { AppSpecInput } from '../../shared/protocol/app-spec.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { callAtOnce, outcomes, startLoad, versionOf, type Load } from '../support/load.ts';
import { Stack, testAppFolder } from './stack.ts';

function app(
  version: string,
  more: Partial<AppSpecInput> & { readonly env?: Record<string, string> } = {},
): AppSpecInput {
  const { env, ...rest } = more;
  return {
    name: 'a',
    path: '/a',
    source: testAppFolder,
    health_url: '/healthz',
    ...rest,
    env: { VERSION: version, ...env },
  };
}

async function apply(stack: Stack, spec: AppSpecInput): Promise<void> {
  await stack.call('apps.apply', { apps: [spec] });
}

/** Calls through every router, stopped at the end of the test at the latest. */
function loadOf(t: TestContext, stack: Stack, callsPerSecond = 50): Load {
  const load = startLoad({ urls: stack.routerUrls.map((url) => `${url}/a/`), callsPerSecond });
  t.after(() => load.stop());
  return load;
}

async function answeredBy(load: Load, version: string): Promise<void> {
  await eventually(30_000, () =>
    assert.ok(
      load.records.some((record) => versionOf(record) === version),
      `nothing from version ${version} yet`,
    ),
  );
}

test('nothing runs until the first call, and 200 first calls at once are all answered by one start', async (t) => {
  const stack = await Stack.start(t);
  await apply(stack, app('1'));
  assert.equal((await stack.call('apps.get', { app: 'a' })).state, 'asleep');
  const records = await callAtOnce(`${stack.routerUrls[0]}/a/`, 200);
  assert.deepEqual(outcomes(records), { 200: 200 });
  const starts = (await stack.call('events.list', { app: 'a' })).events.filter(({ kind }) => kind === 'version.ready');
  assert.equal(starts.length, 1);
});

test('strict: under load no call fails, and none that began after apply returned is answered by the old version', async (t) => {
  const stack = await Stack.start(t);
  await apply(stack, app('1'));
  const load = loadOf(t, stack);
  await answeredBy(load, '1');
  for (const version of ['2', '3', '4']) {
    await apply(stack, app(version));
    const returnedMs = performance.now();
    await answeredBy(load, version);
    const late = load.records.filter(
      (record) => record.startMs > returnedMs && Number(versionOf(record)) < Number(version),
    );
    assert.deepEqual(late, []);
  }
  assert.deepEqual(Object.keys(outcomes(await load.stop())), ['200']);
});

test('without a hold the old version answers until the new one has started', async (t) => {
  const stack = await Stack.start(t);
  await apply(stack, app('1'));
  const load = loadOf(t, stack);
  await answeredBy(load, '1');
  const config = { update: { hold: false } };
  await apply(stack, app('2', { config, env: { MODE: 'slow', DELAY_MS: '1500' } }));
  const appliedMs = performance.now();
  await answeredBy(load, '2');
  const records = await load.stop();
  assert.deepEqual(Object.keys(outcomes(records)), ['200']);
  const meanwhile = records.filter((record) => record.startMs > appliedMs && record.startMs < appliedMs + 1_000);
  assert.ok(meanwhile.length > 20);
  assert.ok(
    meanwhile.every((record) => versionOf(record) === '1' && !record.held),
    'a call was held',
  );
});

test('a version that crashes is recorded with its logs, and calls go to the previous one', async (t) => {
  const stack = await Stack.start(t);
  await apply(stack, app('1'));
  const load = loadOf(t, stack);
  await answeredBy(load, '1');
  await apply(stack, app('2', { env: { MODE: 'crash' } }));
  const failed = await eventually(15_000, async () => {
    const [version] = (await stack.call('versions.list', { app: 'a' })).versions;
    assert.equal(version?.state, 'failed');
    return version;
  });
  assert.equal(failed.failure?.code, 'app_crashed');
  assert.match(failed.failure.logs.join('\n'), /MODE is crash/);
  assert.deepEqual(Object.keys(outcomes(await load.stop())), ['200']);
});

test('with on_failed_update = "fail" calls get 502 with the code and no logs, until someone acts', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  await apply(stack, app('1'));
  const url = `${stack.routerUrls[0]}/a/`;
  assert.deepEqual(outcomes(await callAtOnce(url, 1)), { 200: 1 });
  await apply(stack, app('2', { env: { MODE: 'crash' }, config: { on_failed_update: 'fail' } }));
  const [held] = await callAtOnce(url, 1);
  assert.equal(held?.status, 502);
  assert.match(held.body, /"code":"app_crashed"/);
  assert.doesNotMatch(held.body, /MODE is crash/);
  await stack.call('versions.rollback', { app: 'a', version: 1 });
  const [after] = await callAtOnce(url, 1);
  assert.equal(after && versionOf(after), '1');
});

test('idle and wake lose no call', async (t) => {
  const stack = await Stack.start(t);
  await apply(stack, app('1', { config: { container: { idle_shutdown_secs: 1 } } }));
  for (let cycle = 0; cycle < 3; cycle += 1) {
    const records = await callAtOnce(`${stack.routerUrls[cycle % 2]}/a/`, 20);
    assert.deepEqual(outcomes(records), { 200: 20 });
    await eventually(15_000, async () => assert.equal((await stack.call('apps.get', { app: 'a' })).state, 'asleep'));
  }
});

test('an agent killed in the middle of a start: the held calls are answered, and warm calls never notice', async (t) => {
  const stack = await Stack.start(t);
  await apply(stack, app('1', { env: { MODE: 'slow', DELAY_MS: '1500' } }));
  const held = callAtOnce(`${stack.routerUrls[0]}/a/`, 50);
  await eventually(10_000, async () => assert.equal((await stack.call('apps.get', { app: 'a' })).state, 'starting'));
  await stack.kill('agent', 'SIGKILL');
  await stack.spawn('agent');
  assert.deepEqual(outcomes(await held), { 200: 50 });
});

test('what is refused at apply leaves nothing behind', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  await apply(stack, app('1'));
  const other = { ...app('1'), name: 'b' };
  await assert.rejects(
    stack.call('apps.apply', {
      apps: [
        { ...other, path: '/b' },
        { ...other, name: 'c' },
      ],
    }),
    { code: 'route_conflict', message: /path \/a/ },
  );
  await assert.rejects(stack.call('apps.apply', { apps: [{ ...other, path: '/x/../y' }] }), {
    code: 'invalid_params',
    message: /path/,
  });
  await assert.rejects(stack.call('apps.apply', { apps: [{ ...other, path: '/b', source: '/does/not/exist' }] }), {
    code: 'source_invalid',
  });
  const unknown = { ...other, path: '/b', replicas: 3 } as AppSpecInput;
  await assert.rejects(stack.call('apps.apply', { apps: [unknown] }), { code: 'invalid_params', message: /replicas/ });
  assert.deepEqual(
    (await stack.call('apps.list', {})).apps.map(({ name }) => name),
    ['a'],
  );
});

test('a deleted app leaves nothing, and its route is gone', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  await apply(stack, app('1'));
  await callAtOnce(`${stack.routerUrls[0]}/a/`, 1);
  await stack.call('apps.delete', { app: 'a' });
  const [record] = await callAtOnce(`${stack.routerUrls[0]}/a/`, 1);
  assert.equal(record?.status, 404);
  await assert.rejects(stack.call('apps.get', { app: 'a' }), { code: 'app_not_found' });
});
