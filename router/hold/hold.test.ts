import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import {
  asleep,
  call,
  closedPort,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
} from '../testing/router.ts';

test('1,000 concurrent calls of a sleeping app are held, make one ensure, and are all answered when it runs', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(req.url));
  const calls = Promise.all(Array.from({ length: 1_000 }, (_, i) => call(port, `/a/${i}`)));
  await until(() => router.held === 1_000, '1,000 held calls', { withinMs: 30_000 });
  assert.deepEqual(agent.ensures, [{ app: 'a', version: 1, suspects: [] }]);
  agent.push(routeOf('a', ready(targetOf(app))));
  const answers = await calls;
  assert.deepEqual(new Set(answers.map((answer) => answer.status)), new Set([200]));
  answers.forEach((answer, i) => assert.equal(answer.body, `/${i}`));
  assert.match(
    String(answers[0]?.headers['server-timing']),
    /^hold;dur=[\d.]+, build;dur=12\.0, rollout;dur=34\.0, pull;dur=20\.0, start;dur=14\.0$/,
  );
  assert.equal(agent.ensures.length, 1);
  assert.equal(router.held, 0);
});

test('a client that leaves frees its place at once and does not cancel the ensure that others wait for', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep, { holdMaxCalls: 2 })] });
  let cancelled = false;
  agent.onEnsure = (_, signal) =>
    new Promise(() => {
      signal?.addEventListener('abort', () => (cancelled = true));
    });
  const leaving = request({ host: '127.0.0.1', port, path: '/a', agent: false });
  leaving.on('error', () => undefined);
  leaving.end();
  await until(() => router.held === 1, 'a held call');
  const staying = call(port, '/a/stay');
  await until(() => router.held === 2, 'two held calls');
  const over = await call(port, '/a');
  assert.equal(over.status, 503);
  assert.equal(over.headers['retry-after'], '2');
  assert.equal(JSON.parse(over.body).code, 'hold_full');
  leaving.destroy();
  await until(() => router.held === 1, 'the place of the one that left');
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(req.url));
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal((await staying).body, '/stay');
  assert.equal(cancelled, false);
  assert.equal(agent.ensures.length, 1);
});

test('calls over the bound of the whole router are refused, whichever app they are for', async (t) => {
  const { agent, router, port } = await startTestRouter(t, {
    config: { hold_max_calls: 1 },
    routes: [routeOf('a', asleep), routeOf('b', asleep)],
  });
  const held = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  assert.equal((await call(port, '/b')).status, 503);
  agent.remove('a');
  assert.equal((await held).status, 404);
  assert.equal(router.held, 0);
});

test('a call that waited its whole time gets 504, and 503 where no agent could be asked', async (t) => {
  const clock = createShiftedClock();
  const { agent, router, port } = await startTestRouter(t, { clock, routes: [routeOf('a', asleep)] });
  const late = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  clock.advance(60_100);
  const answer = await late;
  assert.equal(answer.status, 504);
  assert.equal(JSON.parse(answer.body).code, 'hold_timeout');
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  agent.down();
  const away = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  clock.advance(60_100);
  const second = await away;
  assert.equal(second.status, 503);
  assert.equal(JSON.parse(second.body).code, 'agent_unavailable');
});

test('an ensure lost with the link is asked again while calls wait, and calls held meanwhile are answered', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const held = call(port, '/a');
  await until(() => agent.ensures.length === 1, 'the first ensure');
  agent.down();
  const held2 = call(port, '/a');
  await until(() => router.held === 2, 'two held calls');
  agent.up();
  await until(() => agent.ensures.length === 2, 'the second ensure');
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal((await held).body, 'ok');
  assert.equal((await held2).body, 'ok');
});

test('a passing failure of the ensure is asked again with pauses, not in a loop', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  agent.onEnsure = () => Promise.reject(new AppError('store_unavailable', 'no database'));
  const held = call(port, '/a');
  await until(() => agent.ensures.length >= 3, 'three ensures');
  assert.ok(agent.ensures.length < 10);
  agent.onEnsure = () => new Promise(() => undefined);
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal((await held).status, 200);
  assert.equal(router.held, 0);
});

test('held calls follow the live version: the old one is never reached, the new one is ensured', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const held = call(port, '/a');
  await until(() => agent.ensures.length === 1, 'the ensure of version 1');
  agent.push(routeOf('a', { state: 'hold', reason: 'updating' }, { version: 2 }));
  await until(() => agent.ensures.length === 2, 'the ensure of version 2');
  assert.equal(agent.ensures[1]?.version, 2);
  assert.equal(router.held, 1);
  const app = await startUpstream(t, 'a-2', (_, res) => res.end('v2'));
  agent.push(routeOf('a', ready(targetOf(app)), { version: 2 }));
  assert.equal((await held).body, 'v2');
});

test('a failed version answers 502 with code, phase and owner, held calls and new ones', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const held = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  agent.push(routeOf('a', { state: 'failed', failure: { code: 'app_crashed', phase: 'start', owner: 'app' } }));
  for (const answer of [await held, await call(port, '/a')]) {
    assert.equal(answer.status, 502);
    const problem = JSON.parse(answer.body);
    assert.deepEqual(
      [problem.code, problem.phase, problem.owner, problem.status],
      ['app_crashed', 'start', 'app', 502],
    );
    assert.equal(problem.instance, answer.headers['x-request-id']);
  }
});

test('where the ensure says that the version failed and no push follows, the calls get its code and nothing of its message', async (t) => {
  const clock = createShiftedClock();
  const { agent, router, port } = await startTestRouter(t, { clock, routes: [routeOf('a', asleep)] });
  agent.onEnsure = () => Promise.reject(new AppError('image_not_found', 'secret-registry says no', { phase: 'pull' }));
  const held = call(port, '/a');
  await until(() => router.held === 1 && agent.ensures.length === 1, 'a held call');
  await new Promise(setImmediate);
  clock.advance(1_100);
  const answer = await held;
  assert.equal(answer.status, 502);
  assert.equal(JSON.parse(answer.body).code, 'image_not_found');
  assert.equal(JSON.parse(answer.body).phase, 'pull');
  assert.doesNotMatch(answer.body, /secret/);
});

test('calls beyond max_concurrency wait, and are released first come, first served', async (t) => {
  const order: string[] = [];
  const finish: (() => void)[] = [];
  const app = await startUpstream(t, 'a-1', (req, res) => {
    order.push(req.url ?? '');
    finish.push(() => res.end());
  });
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep, { maxConcurrency: 1 })] });
  const calls: Promise<unknown>[] = [];
  for (let i = 0; i < 6; i++) {
    calls.push(call(port, `/a/${i}`));
    await until(() => router.held === i + 1, `held call ${i}`);
  }
  agent.push(routeOf('a', ready(targetOf(app)), { maxConcurrency: 1 }));
  for (let i = 0; i < 6; i++) {
    await until(() => finish.length > i, `call ${i} at the app`);
    assert.equal(order.length, i + 1, 'one at a time');
    finish[i]?.();
  }
  await Promise.all(calls);
  assert.deepEqual([...order].sort(), order);
  assert.equal(router.held, 0);
});

test('a target that refuses connections is reported, and its calls wait for the next one', async (t) => {
  const refusing = { id: 'gone', host: '127.0.0.1', port: await closedPort() };
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', ready(refusing))] });
  const calls = Promise.all(Array.from({ length: 20 }, () => call(port, '/a', { method: 'POST', body: 'once' })));
  await until(() => agent.ensures.length > 0, 'an ensure');
  assert.deepEqual(agent.ensures[0], { app: 'a', version: 1, suspects: ['gone'] });
  const bodies: string[] = [];
  const app = await startUpstream(t, 'a-2', (req, res) => {
    req.setEncoding('utf8').on('data', (chunk: string) => bodies.push(chunk));
    req.on('end', () => res.end('ok'));
  });
  agent.push(routeOf('a', ready(targetOf(app))));
  for (const answer of await calls) assert.equal(answer.body, 'ok');
  assert.equal(bodies.join(''), 'once'.repeat(20));
});

test('a dial that fails goes to another target at once', async (t) => {
  const app = await startUpstream(t, 'good', (_, res) => res.end('ok'));
  const refusing = { id: 'bad', host: '127.0.0.1', port: await closedPort() };
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(refusing, targetOf(app)))] });
  for (let i = 0; i < 10; i++) assert.equal((await call(port, '/a')).body, 'ok');
});

test('a target that refused and then listens again is used again, also without an agent', async (t) => {
  const { agent, router, port } = await startTestRouter(t, {});
  const late = await closedPort();
  agent.push(routeOf('a', ready({ id: 'late', host: '127.0.0.1', port: late })));
  agent.down();
  const held = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  const app = await startUpstream(t, 'unused', (_, res) => res.end('ok'));
  app.server.close();
  app.server.listen(late, '127.0.0.1');
  assert.equal((await held).body, 'ok');
});

test('a pending version is ensured by the first call, once, while the calls go on to the live one', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('v1'));
  const { agent, port } = await startTestRouter(t, {
    routes: [
      routeOf('a', {
        state: 'ready',
        targets: [targetOf(app)],
        pending: 2,
        timings: { buildMs: null, rolloutMs: null },
      }),
    ],
  });
  assert.equal(agent.ensures.length, 0);
  for (let i = 0; i < 5; i++) assert.equal((await call(port, '/a')).body, 'v1');
  assert.deepEqual(agent.ensures, [{ app: 'a', version: 2, suspects: [] }]);
});

test('the body of a held call is not read before it is released, and 100 Continue is not sent before', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  let continued = false;
  const req = request({
    host: '127.0.0.1',
    port,
    path: '/a',
    method: 'POST',
    agent: false,
    headers: { Expect: '100-continue', 'Content-Length': 4 },
  });
  req.on('continue', () => {
    continued = true;
    req.end('body');
  });
  const answered = new Promise<string>((resolve) => {
    req.on('response', (res) => res.setEncoding('utf8').on('data', resolve));
  });
  req.flushHeaders();
  await until(() => router.held === 1, 'a held call');
  assert.equal(continued, false);
  const app = await startUpstream(t, 'a-1', (incoming, res) => incoming.pipe(res));
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal(await answered, 'body');
  assert.equal(continued, true);
});

test('a route that moves while calls are held takes them to where their path now leads', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const held = call(port, '/a/x');
  await until(() => router.held === 1, 'a held call');
  const app = await startUpstream(t, 'b-1', (req, res) => res.end(`b ${req.url}`));
  agent.push(routeOf('a', asleep, { path: '/elsewhere' }), routeOf('b', ready(targetOf(app)), { path: '/a' }));
  assert.equal((await held).body, 'b /x');
});

test('waking many apps at once asks for some at a time, and in the end for all', async (t) => {
  const names = Array.from({ length: 200 }, (_, i) => `app${i}`);
  const { agent, router, port } = await startTestRouter(t, { routes: names.map((name) => routeOf(name, asleep)) });
  const app = await startUpstream(t, 'shared', (_, res) => res.end('ok'));
  const finish: (() => void)[] = [];
  agent.onEnsure = ({ app: name }) =>
    new Promise((resolve) => {
      finish.push(() => {
        agent.push(routeOf(name, ready({ ...targetOf(app), id: name })));
        resolve();
      });
    });
  const calls = Promise.all(names.map((name) => call(port, `/${name}`)));
  await until(() => router.held === 200, '200 held calls');
  assert.equal(agent.ensures.length, 128);
  for (let i = 0; i < 200; i++) {
    await until(() => finish.length > i, `ensure ${i}`);
    finish[i]?.();
  }
  for (const answer of await calls) assert.equal(answer.body, 'ok');
  assert.equal(agent.ensures.length, 200);
});
