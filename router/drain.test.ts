import assert from 'node:assert/strict';
import { Agent } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { createShiftedClock } from '../shared/wait/testing/manual-clock.ts';
import { until } from '../shared/wait/testing/until.ts';
import {
  asleep,
  call,
  clientScheme,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  untilMetric,
} from './testing/router.ts';

test('a drain ends calls, held calls and upgrades first, says so to load balancers, and then closes', async (t) => {
  let finish: () => void = () => undefined;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url === '/slow') finish = () => res.end('slow');
    else res.end('ok');
  });
  app.server.on('upgrade', (_, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
    socket.pipe(socket);
  });
  const { agent, router, port } = await startTestRouter(t, {
    config: { drain_delay_secs: 0.2 },
    routes: [routeOf('a', ready(targetOf(app))), routeOf('b', asleep)],
  });
  await until(() => router.ready().ok, 'ready');
  const keepAlive = new Agent({ keepAlive: true });
  t.after(() => keepAlive.destroy());
  assert.equal((await call(port, '/a', { agent: keepAlive })).headers.connection, 'keep-alive');
  const idle = connect({ host: '127.0.0.1', port });
  const idleClosed = new Promise((resolve) => idle.once('close', resolve));
  const slow = call(port, '/a/slow');
  const held = call(port, '/b');
  const upgraded = connect({ host: '127.0.0.1', port });
  upgraded.write('GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
  await new Promise((resolve) => upgraded.once('data', resolve));
  await until(() => router.held === 1, 'a held call');
  let drained = false;
  const drain = router.drain().then(() => (drained = true));
  assert.deepEqual(router.ready(), { ok: false, reason: 'draining' });
  assert.equal((await call(port, '/a')).headers.connection, 'close');
  await idleClosed;
  // What lies between may have accepted it.
  await assert.rejects(call(port, '/a'), { code: clientScheme() === 'http' ? 'ECONNREFUSED' : 'ECONNRESET' });
  assert.equal(drained, false);
  finish();
  assert.equal((await slow).body, 'slow');
  agent.push(routeOf('b', ready(targetOf(app))));
  assert.equal((await held).body, 'ok');
  assert.equal(drained, false);
  upgraded.end();
  await drain;
});

test('a drain that lasts too long closes what is left', async (t) => {
  const clock = createShiftedClock();
  let arrived = false;
  const app = await startUpstream(t, 'a-1', () => (arrived = true));
  const { router, port } = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', ready(targetOf(app))), routeOf('b', asleep)],
  });
  const hanging = call(port, '/a').catch((error: NodeJS.ErrnoException) => error.code);
  const held = call(port, '/b');
  const heldEnd = held.then(
    (answer) => JSON.parse(answer.body).code as string,
    (error: NodeJS.ErrnoException) => error.code,
  );
  await until(() => router.held === 1 && arrived, 'a held call and one at the app');
  let drained = false;
  const drain = router.drain().then(() => (drained = true));
  await until(() => {
    clock.advance(500);
    return drained;
  }, 'the end of the drain');
  await drain;
  assert.equal(await hanging, 'ECONNRESET');
  assert.equal(await heldEnd, 'router_draining');
});

test('metrics count calls by status, and what is held now', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { router, port, registry } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app))), routeOf('b', asleep)],
  });
  await call(port, '/a');
  await call(port, '/none');
  const left = connect({ host: '127.0.0.1', port });
  left.write('GET /b HTTP/1.1\r\nHost: x\r\n\r\n');
  await until(() => router.held === 1, 'a held call');
  assert.match(await registry.metrics(), /^holdfast_router_held_calls 1$/m);
  left.destroy();
  await until(() => router.held === 0, 'nothing held');
  const text = await registry.metrics();
  for (const line of [
    /^holdfast_router_requests_total\{code="200"\} 1$/m,
    /^holdfast_router_requests_total\{code="404"\} 1$/m,
    /^holdfast_router_requests_total\{code="499"\} 1$/m,
    /^holdfast_router_held_calls 0$/m,
    /^holdfast_router_routes 2$/m,
    /^holdfast_router_agent_link_up 1$/m,
  ]) {
    assert.match(text, line);
  }
});

test('a target that goes and comes back while it has a call gets no dead connection of before', async (t) => {
  // Broke: the connection went to the new pool, which did not hear of its close, and the next call waited on it for ever.
  let answer: (() => void) | undefined;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url !== '/slow') return void res.end('ok');
    answer = () => res.end('slow', () => setImmediate(() => req.socket.destroy()));
  });
  const route = routeOf('a', ready(targetOf(app)));
  const router = await startTestRouter(t, { routes: [route] });
  const { port, agent } = router;
  const slow = call(port, '/a/slow');
  await until(() => answer !== undefined, 'the call at the app');
  agent.push(routeOf('a', { state: 'hold', reason: 'draining' }));
  agent.push(route);
  answer?.();
  assert.equal((await slow).body, 'slow');
  await untilMetric(router, 'holdfast_router_upstream_sockets', (sockets) => sockets === 0);
  for (let count = 0; count < 3; count += 1)
    assert.equal((await call(port, '/a', { method: 'POST', body: 'x' })).body, 'ok');
});
