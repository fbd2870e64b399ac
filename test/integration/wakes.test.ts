/** What may wake an app, how often, and who did: real agent, router, app and Postgres. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppSpecInput } from '../../shared/protocol/app-spec.ts';
import type { EventView } from '../../shared/protocol/views.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { callAtOnce, outcomes, startLoad } from '../support/load.ts';
import { Stack, testAppFolder } from './stack.ts';

function app(config: AppSpecInput['config']): AppSpecInput {
  return {
    name: 'a',
    path: '/a',
    source: testAppFolder,
    health_url: '/healthz',
    env: { VERSION: '1' },
    config: { ...config, container: { idle_shutdown_secs: 1 } },
  };
}

async function asleep(stack: Stack): Promise<void> {
  await eventually(20_000, async () => assert.equal((await stack.call('apps.get', { app: 'a' })).state, 'asleep'));
}

async function events(stack: Stack, kind: RegExp): Promise<EventView[]> {
  const { events } = await stack.call('events.list', { app: 'a' });
  return events.filter((event) => kind.test(event.kind)).toReversed();
}

test('calls wake an app as often as it allows, also across agents; a person always', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  await stack.call('apps.apply', { apps: [app({ wake: { max_per_hour: 2 } })] });
  const url = `${stack.routerUrls[0]}/a/`;
  for (let start = 0; start < 3; start += 1) {
    assert.deepEqual(outcomes(await callAtOnce(url, 5)), { 200: 5 });
    await asleep(stack);
  }
  const startMs = performance.now();
  assert.deepEqual(outcomes(await callAtOnce(url, 5)), { '503 wake_budget_exhausted': 5 });
  assert.ok(performance.now() - startMs < 10_000, 'they were held');

  await eventually(10_000, async () => assert.equal((await events(stack, /app\.woken/)).length, 2));
  await stack.kill('agent', 'SIGKILL');
  await stack.spawn('agent');
  await eventually(30_000, () => stack.settled());
  const response = await fetch(url);
  assert.equal(response.status, 503);
  const secs = Number(response.headers.get('retry-after'));
  assert.ok(secs > 3_000 && secs <= 3_600, String(secs));

  await stack.call('versions.ensure', { app: 'a' });
  assert.deepEqual(outcomes(await callAtOnce(url, 1)), { 200: 1 });
  const told = await eventually(10_000, async () => {
    const found = await events(stack, /called|woken|exhausted/);
    assert.ok(found.filter(({ kind }) => kind === 'app.woken').length === 3);
    return found;
  });
  const kinds = told.map(({ kind }) => kind);
  assert.deepEqual(kinds.slice(0, 4), ['version.called', 'app.woken', 'app.woken', 'app.wakes_exhausted']);
  assert.match(
    told[1]?.message ?? '',
    /^by GET 127\.0\.0\.1\/a\/ from 127\.0\.0\.1, .*, request [0-9a-f-]{36}, router router0$/,
  );
  assert.deepEqual([told.at(-1)?.kind, told.at(-1)?.message], ['app.woken', 'by test']);
});

test('calls that a rule fits neither wake an app nor keep it awake, however many there are', async (t) => {
  const stack = await Stack.start(t, { routers: 1 });
  const rules = [{ user_agent: '*monitor*', answer: { status: 200, content_type: 'text/plain', body: 'asleep' } }];
  await stack.call('apps.apply', { apps: [app({ wake: { rules } })] });
  const url = `${stack.routerUrls[0]}/a/`;
  const load = startLoad({ urls: [url], callsPerSecond: 50, headers: { 'User-Agent': 'Uptime-Monitor/3' } });
  t.after(() => load.stop());
  await eventually(10_000, () => assert.ok(load.records.length > 10));
  assert.deepEqual(await events(stack, /called|woken/), []);
  assert.deepEqual(outcomes(await callAtOnce(url, 1)), { 200: 1 });
  await eventually(10_000, () => assert.ok(load.records.some(({ body }) => body.includes('"version":"1"'))));
  await asleep(stack);
  const records = await load.stop();
  assert.deepEqual(Object.keys(outcomes(records)), ['200']);
  assert.ok(!records.some(({ held }) => held), 'one was held');
  assert.equal((await events(stack, /called|woken/)).length, 1);
});
