import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createShiftedClock } from '../shared/wait/testing/manual-clock.ts';
import { until } from '../shared/wait/testing/until.ts';
import { call, ready, routeOf, startTestRouter, startUpstream, targetOf } from './testing/router.ts';

test('a push is acknowledged when it has taken effect, a gap leads to a new watch', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { agent, port, router } = await startTestRouter(t, { link: 'down' });
  assert.equal(router.ready().ok, false);
  assert.equal((await call(port, '/a')).status, 503);
  agent.up();
  await until(() => agent.acked.length === 1, 'the snapshot acknowledged');
  assert.equal(router.ready().ok, true);
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal(agent.acked.at(-1), agent.seq);
  assert.equal((await call(port, '/a')).body, 'ok');
  const before = agent.seq;
  agent.seq += 5;
  agent.push(routeOf('b', ready(targetOf(app))));
  await until(() => agent.watches === 2, 'a new watch');
  assert.ok(!agent.acked.includes(before + 6));
  await until(() => agent.acked.at(-1) === agent.seq, 'the new snapshot acknowledged');
  assert.equal((await call(port, '/b')).body, 'ok');
});

test('warm calls go on while the agent is away (on_agent_loss = "serve")', async (t) => {
  const clock = createShiftedClock();
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { agent, port } = await startTestRouter(t, { clock, routes: [routeOf('a', ready(targetOf(app)))] });
  agent.down();
  clock.advance(3_600_000);
  for (let i = 0; i < 5; i++) assert.equal((await call(port, '/a')).body, 'ok');
});

test('with on_agent_loss = "hold" calls are held once the lease has run out, until a new snapshot', async (t) => {
  const clock = createShiftedClock();
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { agent, port, router } = await startTestRouter(t, {
    clock,
    config: { on_agent_loss: 'hold', lease_secs: 10 },
    routes: [routeOf('a', ready(targetOf(app)))],
  });
  await until(() => agent.reports.length > 0, 'a report');
  agent.down();
  clock.advance(9_000);
  assert.equal((await call(port, '/a')).body, 'ok');
  clock.advance(1_100);
  const held = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  agent.up();
  assert.equal((await held).body, 'ok');
});

test('a process that was stopped beyond its lease does not serve by what it knew (on_agent_loss = "hold")', async (t) => {
  const clock = createShiftedClock();
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('v1'));
  const { agent, port, router } = await startTestRouter(t, {
    clock,
    config: { on_agent_loss: 'hold', lease_secs: 10 },
    routes: [routeOf('a', ready(targetOf(app)))],
  });
  await until(() => agent.reports.length > 0, 'a report');
  await new Promise(setImmediate);
  // An answer to what was sent before the stop says nothing of the time since.
  let answer: () => void = () => undefined;
  agent.onReport = () => new Promise((resolve) => (answer = resolve));
  clock.advance(2_100);
  await until(() => agent.reports.length === 2, 'the second report');
  agent.onReport = () => new Promise(() => undefined);
  clock.jump(12_000);
  const held = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  answer();
  await new Promise(setImmediate);
  assert.equal(router.held, 1);
  agent.down();
  const second = await startUpstream(t, 'a-2', (_, res) => res.end('v2'));
  agent.routes.set('a', routeOf('a', ready(targetOf(second)), { version: 2 }));
  agent.up();
  assert.equal((await held).body, 'v2');
});

test('the lease is renewed by answered reports, also with nothing to tell', async (t) => {
  const clock = createShiftedClock();
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { agent, port } = await startTestRouter(t, {
    clock,
    config: { on_agent_loss: 'hold', lease_secs: 10 },
    routes: [routeOf('a', ready(targetOf(app)))],
  });
  for (let i = 1; i < 12; i++) {
    await until(() => agent.reports.length === i, `report ${i}`);
    await new Promise(setImmediate);
    clock.advance(2_100);
  }
  assert.equal((await call(port, '/a')).body, 'ok');
});

test('activity tells what is held, in flight and done, and leaves out apps that did nothing', async (t) => {
  const clock = createShiftedClock();
  let finish: (() => void) | undefined;
  const app = await startUpstream(t, 'a-1', (_, res) => (finish = () => res.end('12345')));
  const { agent, port, router } = await startTestRouter(t, {
    clock,
    routes: [
      routeOf('a', ready(targetOf(app))),
      routeOf('b', { state: 'hold', reason: 'asleep' }),
      routeOf('c', ready(targetOf(app))),
    ],
  });
  await until(() => agent.reports.length === 1, 'the first report');
  assert.deepEqual(agent.reports[0], []);
  const inFlight = call(port, '/a');
  const held = call(port, '/b');
  await until(() => router.held === 1, 'a held call');
  await until(() => finish !== undefined, 'the call at the app');
  const report = async (): Promise<Record<string, unknown>> => {
    const count = agent.reports.length;
    await new Promise(setImmediate);
    clock.advance(2_100);
    await until(() => agent.reports.length > count, 'a report');
    await new Promise(setImmediate);
    return Object.fromEntries(
      (agent.reports.at(-1) ?? []).map((item) => [item.app, [item.held, item.inFlight, item.upgraded, item.calls]]),
    );
  };
  assert.deepEqual(await report(), { a: [0, 1, 0, 1], b: [1, 0, 0, 1] });
  finish?.();
  assert.equal((await inFlight).body, '12345');
  agent.remove('b');
  await held;
  assert.deepEqual(await report(), { a: [0, 0, 0, 0] });
  assert.deepEqual(await report(), {});
});

test('targets.release waits for the calls on a target, and says what is left when its time is over', async (t) => {
  let finish: () => void = () => undefined;
  const app = await startUpstream(t, 'a-1', (_, res) => (finish = () => res.end('ok')));
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const arrived = new Promise((resolve) => app.server.once('request', resolve));
  const answer = call(port, '/a');
  await arrived;
  agent.push(routeOf('a', { state: 'hold', reason: 'draining' }));
  assert.deepEqual(await agent.release('a', ['a-1'], 5), { inFlight: 1, upgraded: 0 });
  const released = agent.release('a', ['a-1'], 60_000);
  finish();
  assert.equal((await answer).body, 'ok');
  assert.deepEqual(await released, { inFlight: 0, upgraded: 0 });
  assert.deepEqual(await agent.release('a', ['unknown'], 60_000), { inFlight: 0, upgraded: 0 });
});

test('a call on a target that the app no longer has keeps the app busy', async (t) => {
  let finish: () => void = () => undefined;
  const app = await startUpstream(t, 'a-1', (_, res) => (finish = () => res.end('ok')));
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const arrived = new Promise((resolve) => app.server.once('request', resolve));
  const answer = call(port, '/a');
  await arrived;
  agent.push(routeOf('a', { state: 'hold', reason: 'draining' }));
  assert.partialDeepStrictEqual(await agent.released('a', ['a-2'], 60_000), { inFlight: 0, busy: true });
  finish();
  await answer;
  assert.partialDeepStrictEqual(await agent.released('a', ['a-2'], 60_000), { inFlight: 0, busy: false });
});

test('heads count as bytes of the app, as bodies do', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('x'.repeat(1_000)));
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const { rawHeaders } = await call(port, '/a', { headers: { 'X-Long': 'y'.repeat(2_000) } });
  assert.ok(rawHeaders.length > 0);
  const { bytes = 0, idleMs, busy } = await agent.released('a', ['a-1'], 0);
  assert.equal(typeof idleMs, 'number');
  assert.equal(busy, false);
  // Both heads of node are under 500 bytes but for the long field.
  assert.ok(bytes > 3_100 && bytes < 4_000, `${bytes} bytes`);
});

test('a call that comes while its target is being drained takes it back', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { agent, port, router } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  agent.push(routeOf('a', { state: 'hold', reason: 'draining' }));
  const held = call(port, '/a');
  await until(() => router.held === 1 && agent.ensures.length === 1, 'an ensure');
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal((await held).body, 'ok');
});
