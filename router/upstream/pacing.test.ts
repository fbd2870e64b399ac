import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Target } from '../../shared/protocol/routes.ts';
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
  type Answer,
} from '../testing/router.ts';

test('max_concurrency_total bounds the calls of an app over all its targets, including upgraded connections', async (t) => {
  const finish: (() => void)[] = [];
  let most = 0;
  let now = 0;
  const listener = (id: string) =>
    startUpstream(t, id, (_, res) => {
      most = Math.max(most, (now += 1));
      finish.push(() => {
        now -= 1;
        res.end('ok');
      });
    });
  const [one, two] = await Promise.all([listener('a-1'), listener('a-2')]);
  one.server.on('upgrade', (_, socket: Socket) => {
    socket.on('error', () => undefined);
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
    socket.on('data', () => socket.end());
  });
  const { router, port } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(one)), { maxConcurrencyTotal: 3 })],
  });
  const upgraded = request({
    host: '127.0.0.1',
    port,
    path: '/a',
    headers: { Connection: 'Upgrade', Upgrade: 'echo' },
  });
  upgraded.end();
  const [, socket] = (await once(upgraded, 'upgrade')) as [unknown, Socket];
  const calls = Array.from({ length: 9 }, () => call(port, '/a'));
  await until(() => finish.length === 2 && router.held === 7, 'two calls at the app');
  // The open WebSocket is the third; when it ends, one more call goes.
  socket.write('bye');
  await until(() => finish.length === 3 && router.held === 6, 'three calls at the app');
  for (let i = 0; i < 9; i += 1) {
    await until(() => finish.length > i, `call ${i}`);
    finish[i]?.();
  }
  for (const answer of await Promise.all(calls)) assert.equal(answer.body, 'ok');
  assert.equal(most, 3);
  assert.ok(two.port > 0);
});

test('a call that waits for room longer than the app allows gets 503 queue_timeout; waiting for a start does not count', async (t) => {
  const clock = createShiftedClock();
  const finish: (() => void)[] = [];
  const app = await startUpstream(t, 'a-1', (_, res) => finish.push(() => res.end('ok')));
  const bounds = { maxConcurrency: 1, queueTimeoutMs: 5_000 };
  const { agent, router, port, registry } = await startTestRouter(t, { clock, routes: [routeOf('a', asleep, bounds)] });
  const calls: Promise<Answer>[] = [];
  for (let i = 0; i < 3; i += 1) {
    calls.push(call(port, '/a'));
    await until(() => router.held === i + 1, 'a held call');
  }
  clock.advance(20_000); // It starts: longer than the queue would be.
  assert.equal(router.held, 3);
  agent.push(routeOf('a', ready(targetOf(app)), bounds));
  await until(() => finish.length === 1, 'the first call at the app');
  clock.advance(4_900);
  const late = call(port, '/a');
  await until(() => router.held === 3, 'three held calls');
  clock.advance(200);
  await until(() => router.held === 1, 'the end of those that waited for five seconds');
  for (const answer of await Promise.all(calls.slice(1))) {
    assert.equal(answer.status, 503);
    assert.equal(answer.headers['retry-after'], '2');
    assert.equal(JSON.parse(answer.body).code, 'queue_timeout');
  }
  finish[0]?.();
  assert.equal((await (calls[0] as Promise<Answer>)).body, 'ok');
  await until(() => finish.length === 2, 'the late call at the app');
  finish[1]?.();
  assert.equal((await late).body, 'ok');
  assert.match(await registry.metrics(), /holdfast_router_hold_rejected_total\{reason="queue_timeout"\} 2/);
});

test('the target with less in flight gets the call, and an open WebSocket counts', async (t) => {
  const served: string[] = [];
  const listener = (id: string) =>
    startUpstream(t, id, (_, res) => {
      served.push(id);
      res.end('ok');
    });
  const [one, two] = await Promise.all([listener('a-1'), listener('a-2')]);
  for (const { server } of [one, two]) {
    server.on('upgrade', (_, socket: Socket) => {
      socket.on('error', () => undefined);
      socket.resume().on('end', () => socket.end());
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${server === one.server ? 'one' : 'two'}\r\n\r\n`,
      );
    });
  }
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(one), targetOf(two)))] });
  const upgraded = request({ host: '127.0.0.1', port, path: '/a', headers: { Connection: 'Upgrade', Upgrade: 'x' } });
  upgraded.end();
  const [res, socket] = (await once(upgraded, 'upgrade')) as [{ headers: { upgrade?: string } }, Socket];
  for (let i = 0; i < 6; i += 1) await call(port, '/a');
  assert.deepEqual(new Set(served), new Set([res.headers.upgrade === 'one' ? 'a-2' : 'a-1']));
  socket.destroy();
});

test('thousands of held calls are released in order and refused in order, a few in each turn of the event loop', async (t) => {
  const count = 2_000;
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(req.url));
  const { agent, router, port } = await startTestRouter(t, {
    routes: [routeOf('a', asleep, { holdMaxCalls: 10_000 })],
  });
  const hold = async (): Promise<Promise<Answer>[]> => {
    const calls: Promise<Answer>[] = [];
    for (let i = 0; i < count; i += 1) calls.push(call(port, `/a/${i}`));
    await until(() => router.held === count, 'held calls', { withinMs: 30_000 });
    return calls;
  };
  const refused = await hold();
  agent.push(
    routeOf(
      'a',
      { state: 'failed', failure: { code: 'app_crashed', phase: 'start', owner: 'app' } },
      { holdMaxCalls: 10_000 },
    ),
  );
  assert.equal(router.held, count - 100);
  for (const answer of await Promise.all(refused)) assert.equal(answer.status, 502);
  agent.push(routeOf('a', asleep, { holdMaxCalls: 10_000 }));
  const held = await hold();
  agent.push(routeOf('a', ready(targetOf(app)), { holdMaxCalls: 10_000 }));
  (await Promise.all(held)).forEach((answer, i) => assert.equal(answer.body, `/${i}`));
});

/** A single thread that takes one connection after another, with an accept queue of 16. */
async function startNarrowApp(t: TestContext, id: string, workMs: number): Promise<Target> {
  const program = `
import socket, time
server = socket.socket()
server.bind(('127.0.0.1', 0))
server.listen(16)
print(server.getsockname()[1], flush=True)
while True:
    client, _ = server.accept()
    data = b''
    while b'\\r\\n\\r\\n' not in data:
        part = client.recv(65536)
        if not part: break
        data += part
    if data:
        time.sleep(${workMs / 1_000})
        client.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nok')
    client.close()
`;
  const child = spawn('python3', ['-c', program], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { id, host: '127.0.0.1', port: Number(line.toString()) };
}

test(
  '1,000 held calls reach an app of one thread and a backlog of 16, and none fails',
  { timeout: 60_000 },
  async (t) => {
    const target = await startNarrowApp(t, 'narrow', 1);
    const { agent, router, port, registry } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
    const calls = Array.from({ length: 1_000 }, () => call(port, '/a'));
    await until(() => router.held === 1_000, '1,000 held calls');
    agent.push(routeOf('a', ready(target)));
    for (const answer of await Promise.all(calls)) assert.equal(answer.status, 200);
    const text = await registry.metrics();
    assert.doesNotMatch(text, /connect_failures_total\{reason="refused"\}/);
    assert.match(text, /holdfast_router_targets_set_aside_total 0/);
  },
);

test('a fresh target gets a few calls, more with answers, and more with time where connections are made at once', async (t) => {
  const finish: (() => void)[] = [];
  const app = await startUpstream(t, 'a-1', (_, res) => finish.push(() => res.end('ok')));
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const calls = Array.from({ length: 200 }, () => call(port, '/a'));
  await until(() => router.held === 200, '200 held calls');
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal(router.held, 184);
  await until(() => finish.length === 16, '16 calls at the app');
  for (const end of finish.splice(0, 8)) end();
  await until(() => finish.length > 16, 'more than one for each answer');
  // It answers nothing, and all connections stand: all calls are there within a few looks.
  await until(() => finish.length === 192, 'all at the app');
  for (const end of finish) end();
  for (const answer of await Promise.all(calls)) assert.equal(answer.status, 200);
});

test('the only target of an app is not set aside for one dial that timed out, and two in a row are reported to the agent', async (t) => {
  const clock = createShiftedClock();
  // A listener that never accepts, its queue filled: SYNs are dropped.
  const child = spawn(
    'python3',
    [
      '-c',
      "import socket,time\ns=socket.socket();s.bind(('127.0.0.1',0));s.listen(0);print(s.getsockname()[1],flush=True);time.sleep(600)",
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  t.after(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const deaf: Target = { id: 'deaf', host: '127.0.0.1', port: Number(line.toString()) };
  const { agent, port, registry } = await startTestRouter(t, { clock, routes: [routeOf('a', ready(deaf))] });
  // One stands in the queue and waits for its answer.
  const standing = request({ host: '127.0.0.1', port, path: '/a', agent: false }).on('error', () => undefined);
  standing.end();
  const state = async (): Promise<string> =>
    /holdfast_router_targets\{state="(\w+)"\} 1/.exec(await registry.metrics())?.[1] ?? '';
  const stuck = request({ host: '127.0.0.1', port, path: '/a', agent: false }).on('error', () => undefined);
  stuck.end();
  const stuckToo = request({ host: '127.0.0.1', port, path: '/a', agent: false }).on('error', () => undefined);
  stuckToo.end();
  for (;;) {
    clock.advance(500);
    if ((await state()) === 'doubted') break;
    await new Promise(setImmediate);
  }
  assert.match(await registry.metrics(), /holdfast_router_targets_set_aside_total 0/);
  await until(() => {
    clock.advance(500);
    return agent.ensures.length > 0;
  }, 'a word to the agent');
  assert.deepEqual(agent.ensures[0], { app: 'a', version: 1, suspects: ['deaf'] });
  assert.equal(await state(), 'doubted');
  for (const one of [standing, stuck, stuckToo]) one.destroy();
});

test('a target that refuses is set aside, gets no call while others run, and comes back by a probe', async (t) => {
  const good = await startUpstream(t, 'good', (_, res) => res.end('good'));
  const port = await closedPort();
  const router = await startTestRouter(t, {
    routes: [routeOf('a', ready({ id: 'late', host: '127.0.0.1', port }, targetOf(good)))],
  });
  for (let i = 0; i < 20; i += 1) assert.equal((await call(router.port, '/a')).body, 'good');
  const text = await router.registry.metrics();
  assert.match(text, /holdfast_router_targets\{state="set_aside"\} 1/);
  const { targets } = router.router.viewTargets(new URLSearchParams('app=a&state=set_aside'));
  assert.deepEqual(
    targets.map(({ app, version, id, address, state, failures }) => ({ app, version, id, address, state, failures })),
    [{ app: 'a', version: 1, id: 'late', address: `127.0.0.1:${port}`, state: 'set_aside', failures: 1 }],
  );
  assert.equal(router.router.viewTargets(new URLSearchParams('limit=1')).more, true);
  assert.deepEqual(router.router.viewTargets(new URLSearchParams('app=b')), { targets: [], more: false });
  for (const bad of ['limit=0', 'limit=1001', 'state=gone', 'page=2', 'app=A']) {
    assert.throws(() => router.router.viewTargets(new URLSearchParams(bad)), { code: 'request_invalid' }, bad);
  }
  // No call had to find that out.
  assert.match(text, /connect_failures_total\{reason="refused"\} 1/);
  const late = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate'));
  });
  await new Promise<void>((resolve) => void late.listen(port, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => late.close(resolve)));
  assert.equal((late.address() as AddressInfo).port, port);
  const seen = new Set<string>();
  while (!seen.has('late')) seen.add((await call(router.port, '/a')).body);
});

test('an app that answers 500 again and again keeps getting calls: its targets are no worse for it', async (t) => {
  let count = 0;
  const app = await startUpstream(t, 'a-1', (_, res) => {
    count += 1;
    res.writeHead(500).end();
  });
  const { port, registry } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  for (let i = 0; i < 50; i += 1) assert.equal((await call(port, '/a')).status, 500);
  assert.equal(count, 50);
  assert.match(await registry.metrics(), /holdfast_router_targets_set_aside_total 0/);
});
