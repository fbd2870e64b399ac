/**
 * Clients and apps that do anything at any time, while routes come and go and deadlines run out: nothing ends the router, and
 * when all have gone nothing is left of them. HOLDFAST_CHAOS_CLIENTS says how many, HOLDFAST_CHAOS_SEED the same again: no test of
 * every run, since what happens hangs on the moments at which a machine lets it.
 */
import assert from 'node:assert/strict';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Route, Target } from '../shared/protocol/routes.ts';
import { createShiftedClock } from '../shared/wait/testing/manual-clock.ts';
import { until } from '../shared/wait/testing/until.ts';
import { asleep, closedPort, ready, routeOf, startTestRouter } from './testing/router.ts';

const clients = Number(process.env['HOLDFAST_CHAOS_CLIENTS'] ?? 0);
const seed = Number(process.env['HOLDFAST_CHAOS_SEED'] ?? Math.trunc(Math.random() * 2 ** 31));

/** mulberry32 */
let state = seed;
function random(): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

function below(count: number): number {
  return Math.floor(random() * count);
}

function one<T>(list: readonly T[]): T {
  return list[below(list.length)] as T;
}

const large = 'x'.repeat(200_000);
const heads: readonly string[] = [
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: u\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  `HTTP/1.1 200 OK\r\nContent-Length: ${large.length}\r\n\r\n${large}`,
  `HTTP/1.1 200 OK\r\n\r\n${large}`,
  'HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno',
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi',
  'HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale',
  'HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npart',
  'garbage\r\n\r\n',
  'HTTP/1.1 200',
  '',
];

/** Does one thing after the other at moments of its own, and the last is an end, or none. */
function misbehave(socket: Socket, says: readonly string[]): void {
  let step = 0;
  const next = (): void => {
    if (socket.destroyed) return;
    const text = says[step++];
    if (text !== undefined) {
      if (socket.writable) socket.write(text, 'latin1');
      schedule();
      return;
    }
    const end = random();
    if (end < 0.3) socket.end();
    // Node leaves the handle of one that is being connected.
    else if (end < 0.5 && !socket.connecting) socket.resetAndDestroy();
    else if (end < 0.6) socket.destroy();
    else if (end < 0.7) socket.pause();
  };
  const schedule = (): void => {
    const when = random();
    if (when < 0.5) setImmediate(next);
    else if (when < 0.75) next();
    else setTimeout(next, below(20));
  };
  schedule();
}

function cut(text: string): string[] {
  if (random() < 0.5) return [text];
  const at = below(text.length + 1);
  return [text.slice(0, at), text.slice(at)];
}

async function startApp(t: TestContext, id: string, open: Set<Socket>): Promise<Target> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    socket.on('end', () => socket.end());
    socket.on('data', () => {
      if (random() < 0.1) socket.pause();
      if (random() < 0.9) misbehave(socket, cut(one(heads)));
    });
    if (random() < 0.02) socket.write(one(heads), 'latin1');
    if (random() < 0.02) socket.resetAndDestroy();
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { id, host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

function requestText(): string {
  const path = `${one(['/a', '/b', '/c', '/none', '/a/../b'])}/${below(9)}`;
  const line = `${one(['GET', 'GET', 'POST', 'HEAD', 'DELETE', 'FOO'])} ${path} HTTP/1.${one(['1', '1', '1', '0'])}\r\nHost: h\r\n`;
  const more = one([
    '\r\n',
    '\r\n',
    'Connection: close\r\n\r\n',
    'Content-Length: 5\r\n\r\nhello',
    'Content-Length: 5\r\n\r\nhe',
    `Content-Length: ${large.length}\r\n\r\n${large}`,
    `Content-Length: 100000000\r\n\r\n${large}`,
    'Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n',
    'Transfer-Encoding: chunked\r\n\r\n5\r\nhel',
    'Transfer-Encoding: chunked\r\n\r\nzz\r\n',
    'Expect: 100-continue\r\nContent-Length: 5\r\n\r\n',
    'Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80abcd',
  ]);
  return line + more;
}

// Looked for by hand, with HOLDFAST_CHAOS_CLIENTS=1500 or more: what it finds depends on the machine's timing.
if (clients > 0) void test('whatever clients and apps do, nothing is left of them', chaos);

async function chaos(t: TestContext): Promise<void> {
  t.diagnostic(`seed ${seed}`);
  const clock = createShiftedClock();
  const appSockets = new Set<Socket>();
  const apps = await Promise.all(['one', 'two', 'three'].map((id) => startApp(t, id, appSockets)));
  const refusing: Target = { id: 'refusing', host: '127.0.0.1', port: await closedPort() };
  let version = 1;
  const someRoute = (app: string): Route => {
    const targets = [...apps, refusing]
      .filter(() => random() < 0.6)
      .map((target) => ({ ...target, id: `${app}-${target.id}` }));
    const serving: Route['serving'] =
      targets.length > 0 && random() < 0.8
        ? ready(...targets)
        : random() < 0.7
          ? asleep
          : { state: 'failed', failure: { code: 'version_failed', phase: 'rollout', owner: 'app' } };
    if (random() < 0.3) version += 1;
    return routeOf(app, serving, {
      version,
      maxConcurrency: one([0, 0, 2, 5]),
      holdMaxCalls: one([5, 5_000]),
      ...(random() < 0.3 && { upgradeMaxAgeMs: 3_000 }),
      ...(random() < 0.3 && { queueTimeoutMs: 500 }),
    });
  };
  const names = ['a', 'b', 'c'];
  const { router, agent, port, registry } = await startTestRouter(t, {
    clock,
    routes: names.map(someRoute),
    config: {
      max_upstream_sockets: 20,
      upstream_headers_timeout_secs: 20,
      request_headers_timeout_secs: 10,
      request_stall_timeout_secs: 10,
      response_stall_timeout_secs: 10,
    },
  });
  agent.onEnsure = () => (random() < 0.5 ? Promise.resolve() : Promise.reject(new Error('no')));
  const open = new Set<Socket>();
  for (let count = 0; count < clients; count += 1) {
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: random() < 0.3 });
    open.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => open.delete(socket));
    if (random() < 0.9) socket.resume();
    misbehave(socket, Array.from({ length: 1 + below(4) }, () => cut(requestText())).flat());
    if (random() < 0.1) agent.push(someRoute(one(names)));
    if (random() < 0.01) agent.remove(one(names));
    if (random() < 0.01) agent.down();
    if (random() < 0.02) agent.up();
    if (random() < 0.02) clock.advance(below(4_000));
    if (open.size > 300 || random() < 0.1) await new Promise((resolve) => setTimeout(resolve, below(3)));
    while (open.size > 500) {
      clock.advance(1_000);
      for (const one of open) if (random() < 0.05) one.destroy();
      await new Promise(setImmediate);
    }
  }
  for (const socket of open) socket.destroy();
  // Without these an upgraded connection may stay half open, as long as its app likes.
  for (const socket of appSockets) socket.destroy();
  // Targets that no route names any more are not counted: this one has them all.
  agent.up();
  for (const name of names)
    agent.push(routeOf(name, ready(...[...apps, refusing].map((app) => ({ ...app, id: `${name}-${app.id}` })))));
  const metric = async (name: string): Promise<number> =>
    Number(new RegExp(`^holdfast_router_${name} (\\d+)$`, 'm').exec(await registry.metrics())?.[1]);
  const left = async (): Promise<unknown> => ({
    connections: await metric('connections'),
    held: await metric('held_calls'),
    readAhead: await metric('read_ahead_bytes'),
    buffered: await metric('buffered_bytes'),
    upstream: await metric('upstream_sockets'),
  });
  const nothing = { connections: 0, held: 0, readAhead: 0, buffered: 0, upstream: 0 };
  const endMs = performance.now() + 20_000;
  while (JSON.stringify(await left()) !== JSON.stringify(nothing) && performance.now() < endMs) {
    // Slowly enough for connections to be made in time.
    clock.advance(400);
    for (const socket of appSockets) if (random() < 0.02) socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(await left(), nothing);
  const ids = names.flatMap((name) => [...apps, refusing].map(({ id }) => `${name}-${id}`));
  for (const name of names) assert.deepEqual(await agent.release(name, ids, 1), { inFlight: 0, upgraded: 0 });
  // It still serves.
  agent.push(routeOf('d', asleep));
  const socket = connect({ port, host: '127.0.0.1' });
  t.after(() => socket.destroy());
  socket.write('GET /d HTTP/1.1\r\nHost: h\r\n\r\n');
  await until(() => router.held === 1, 'a held call');
}
