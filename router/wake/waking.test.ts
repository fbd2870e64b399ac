import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { wakeRule } from '../../shared/protocol/app-config.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';

const bots = [wakeRule.parse({ user_agent: '*bot*', answer: { status: 200, content_type: 'text/html', body: 'zzz' } })];
const bot = { headers: { 'User-Agent': 'SomeBot/1.0' } };

test('a call that a rule fits gets its static answer and wakes nothing, whatever the app is about', async (t) => {
  const { agent, port, router, registry } = await startTestRouter(t, {
    routes: [routeOf('a', asleep, { wakeRules: bots })],
  });
  for (const reason of ['asleep', 'starting', 'updating', 'draining'] as const) {
    agent.push(routeOf('a', { state: 'hold', reason }, { wakeRules: bots }));
    const answer = await call(port, '/a/x', bot);
    assert.deepEqual([answer.status, answer.headers['content-type'], answer.body], [200, 'text/html', 'zzz']);
    assert.equal(answer.headers['cache-control'], 'no-store');
  }
  assert.equal(router.held, 0);
  assert.deepEqual(agent.ensures, []);
  assert.match(await registry.metrics(), /wake_rule_answers_total\{app="a",rule="1"\} 4/);
});

test('the probes of the kubelet wake no app that has no rules of its own', async (t) => {
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const answer = await call(port, '/a', { headers: { 'User-Agent': 'kube-probe/1.31' } });
  assert.deepEqual([answer.status, answer.body, answer.headers['content-type']], [200, '', undefined]);
  assert.deepEqual(agent.ensures, []);
});

test('a static answer leaves the connection open: to HEAD without body, and behind a body that nobody reads', async (t) => {
  const { port } = await startTestRouter(t, { routes: [routeOf('a', asleep, { wakeRules: bots })] });
  const one = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => one.destroy());
  const head = await call(port, '/a', { ...bot, method: 'HEAD', agent: one });
  assert.deepEqual([head.status, head.body, head.headers['content-length']], [200, '', '3']);
  const body = 'x'.repeat(100_000);
  const post = await call(port, '/a', { ...bot, method: 'POST', body, agent: one });
  assert.deepEqual([post.status, post.body, post.headers.connection], [200, 'zzz', 'keep-alive']);
  assert.equal((await call(port, '/a', { ...bot, agent: one })).body, 'zzz');
});

test('calls that a rule fits keep no app awake, and do not start a version that waits for a call', async (t) => {
  const clock = createShiftedClock();
  const app = await startUpstream(t, 'one', (_req, res) => void setImmediate(() => res.end('ok')));
  const serving = ready(targetOf(app));
  const { agent, port } = await startTestRouter(t, { clock, routes: [routeOf('a', serving, { wakeRules: bots })] });
  const idle = async (): Promise<{ calls: number; idleMs: number } | undefined> => {
    const { length } = agent.reports;
    await until(() => {
      clock.advance(2_500);
      return agent.reports.slice(length).some((report) => report.length > 0);
    }, 'a report with the app');
    return agent.reports.at(-1)?.find((report) => report.app === 'a') as { calls: number; idleMs: number } | undefined;
  };
  assert.equal((await call(port, '/a')).body, 'ok');
  assert.equal((await idle())?.calls, 1);
  clock.advance(60_000);
  agent.push(routeOf('a', { ...serving, pending: 2 } as typeof serving, { wakeRules: bots }));
  for (let count = 0; count < 3; count += 1) assert.equal((await call(port, '/a', bot)).body, 'ok');
  assert.deepEqual(agent.ensures, []);
  const quiet = await idle();
  assert.ok(quiet !== undefined && quiet.calls === 0 && quiet.idleMs > 60_000, JSON.stringify(quiet));

  assert.equal((await call(port, '/a')).body, 'ok');
  await until(() => agent.ensures.length === 1, 'the pending version');
  const busy = await idle();
  assert.ok(busy !== undefined && busy.calls === 1 && busy.idleMs < 60_000, JSON.stringify(busy));
});

test('the agent learns which call woke the app, without its query, and its client as far as trusted proxies know it', async (t) => {
  const { agent, port } = await startTestRouter(t, {
    routes: [routeOf('a', asleep)],
    config: { trusted_proxies: ['127.0.0.0/8', '10.0.0.0/8'] },
  });
  agent.onEnsure = async () =>
    agent.push(routeOf('a', { state: 'failed', failure: { code: 'app_crashed', phase: 'start', owner: 'app' } }));
  await call(port, `/a/${'x'.repeat(300)}?token=secret`, {
    headers: {
      Host: 'Shop.example:80',
      'User-Agent': 'ev\u00efl/1 \u009b31m',
      'X-Forwarded-For': '198.51.100.9, 192.0.2.7, 10.1.2.3',
      'X-Request-Id': 'req-7',
    },
  });
  assert.deepEqual(agent.causes, [
    {
      router: 'router-test',
      method: 'GET',
      host: 'shop.example',
      path: `/a/${'x'.repeat(250)}...`,
      userAgent: 'ev?l/1 ?31m',
      client: '192.0.2.7',
      requestId: 'req-7',
    },
  ]);
});

test('calls of an app that may not be woken any more get 503 at once, and the agent is asked again only when it may', async (t) => {
  const clock = createShiftedClock();
  const { agent, port, router, registry } = await startTestRouter(t, { clock, routes: [routeOf('a', asleep)] });
  const gate = Promise.withResolvers<void>();
  agent.onEnsure = async () => {
    await gate.promise;
    throw new AppError('wake_budget_exhausted', 'woken 2 times', { retryAfterMs: 90_500 });
  };
  const held = Promise.all([call(port, '/a'), call(port, '/a')]);
  await until(() => router.held === 2, 'two held calls');
  gate.resolve();
  for (const answer of [...(await held), await call(port, '/a')]) {
    assert.equal(answer.status, 503);
    assert.equal(JSON.parse(answer.body).code, 'wake_budget_exhausted');
    assert.equal(JSON.parse(answer.body).owner, 'app');
    const secs = Number(answer.headers['retry-after']);
    assert.ok(secs > 80 && secs <= 91, String(secs));
  }
  assert.equal(agent.ensures.length, 1);
  assert.match(await registry.metrics(), /holdfast_router_wakes_refused_total 1/);

  // Declared anew, or started by hand: what was said before counts no longer.
  agent.push(routeOf('a', { state: 'hold', reason: 'starting' }));
  clock.advance(5_000);
  const again = call(port, '/a');
  await until(() => agent.ensures.length === 2, 'another ensure');
  await again;
  agent.onEnsure = () => new Promise(() => undefined);
  clock.advance(91_000);
  const later = call(port, '/a').catch(() => undefined);
  await until(() => agent.ensures.length === 3, 'an ensure when the time is over');
  await router.close();
  await later;
});
