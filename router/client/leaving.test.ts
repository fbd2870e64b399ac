/** Clients that leave, or only end their half: what is given up, when, and what is still answered. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import {
  asleep,
  metric,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  untilMetric,
} from '../testing/router.ts';

interface Peer {
  readonly socket: Socket;
  readonly text: () => string;
}

function open(t: TestContext, port: number): Peer {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  return { socket, text: () => text };
}

const readAheadBytes = 'holdfast_router_read_ahead_bytes';

test('a client that leaves while its call waits is seen behind a megabyte that nobody has asked for', async (t) => {
  // Broke: behind the first 16 KiB it was not seen before the deadline of the call.
  const router = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  for (const bytes of [20_000, 100_000, 900_000]) {
    const { socket } = open(t, router.port);
    socket.write(`POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n`);
    socket.end(Buffer.alloc(bytes));
    await until(() => router.router.held === 1, 'a held call');
    await until(() => router.router.held === 0, `the place, ${bytes} bytes`);
    await untilMetric(router, readAheadBytes, (bytes) => bytes === 0);
  }
});

test('what is read of calls that wait grows to a part of what may be read ahead of all, and goes to the app', async (t) => {
  const clock = createShiftedClock();
  const router = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', asleep)],
    config: { read_ahead_max_bytes: 8_388_608 },
  });
  const size = 4_000_000;
  const peers = Array.from({ length: 20 }, () => open(t, router.port));
  for (const { socket } of peers) {
    socket.write(`POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`);
    socket.write(Buffer.alloc(size, 'x'));
  }
  await until(() => router.router.held === 20, 'held calls');
  let most = 0;
  let sweeps = 0;
  await untilMetric(router, readAheadBytes, (bytes) => {
    most = Math.max(most, bytes);
    clock.advance(200);
    sweeps += 1;
    return sweeps >= 30 && most > 1_000_000;
  });
  // A quarter, and what they had before by one read of each.
  assert.ok(most < 2_097_152 + 20 * 81_920, `${most} bytes`);
  let got = 0;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    req.on('data', (chunk: Buffer) => (got += chunk.length));
    req.on('end', () => res.end('done'));
  });
  router.agent.push(routeOf('a', ready(targetOf(app))));
  await until(() => peers.every(({ text }) => text().includes('done')), 'all answers', { withinMs: 30_000 });
  assert.equal(got, 20 * size);
  assert.equal(await metric(router, readAheadBytes), 0);
});

test('a client that ends its half behind its request, as nc -N does, gets its answer, and those to all it has asked', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => {
    let body = '';
    req.on('data', (chunk: Buffer) => (body += chunk.toString()));
    req.on('end', () => setTimeout(() => res.end(`${req.url} ${body};`), 50));
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  for (const [asks, answers] of [
    ['GET /a/1 HTTP/1.0\r\n\r\n', ['/1 ;']],
    ['GET /a/1 HTTP/1.1\r\nHost: h\r\n\r\n', ['/1 ;']],
    ['POST /a/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc', ['/1 abc;']],
    [
      'GET /a/1 HTTP/1.1\r\nHost: h\r\n\r\nPUT /a/2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\nGET /a/3 HTTP/1.1\r\nHost: h\r\n\r\n',
      ['/1 ;', '/2 x;', '/3 ;'],
    ],
    ['GET /a/1 HTTP/1.1\r\nHost: h\r\n\r\nGET /a/2 HT', ['/1 ;']],
    ['GET /none HTTP/1.1\r\nHost: h\r\n\r\n', ['route_not_found']],
  ] as const) {
    const { socket, text } = open(t, port);
    socket.end(asks);
    await until(() => socket.closed, 'the end');
    assert.deepEqual(
      text()
        .match(/\/\d \w*;|"code":"route_not_found"/g)
        ?.map((found) => found.replace(/"code":|"/g, '')) ?? [],
      answers,
    );
  }
});

test('a client that ends its half keeps an answer that goes on, and loses one that pauses', async (t) => {
  const clock = createShiftedClock();
  let say: ((text: string) => void) | undefined;
  let left = false;
  const app = await startUpstream(t, 'a-1', (_, res) => {
    res.flushHeaders();
    res.on('close', () => (left = true));
    say = (text) => void res.write(text);
  });
  const { port } = await startTestRouter(t, { clock, routes: [routeOf('a', ready(targetOf(app)))] });
  const { socket, text } = open(t, port);
  socket.end('GET /a HTTP/1.1\r\nHost: h\r\n\r\n');
  await until(() => text().includes('\r\n\r\n'), 'the head');
  for (let event = 0; event < 5; event += 1) {
    say?.(`event ${event}`);
    await until(() => text().includes(`event ${event}`), 'the event');
    clock.advance(700);
  }
  assert.equal(left, false);
  clock.advance(2_500);
  await until(() => left && socket.closed, 'the end at the app');
});

test('a client that has closed while its call is at the app is seen at the first byte of the answer, or in a moment', async (t) => {
  let left = 0;
  let answer: (() => void) | undefined;
  const app = await startUpstream(t, 'a-1', (_, res) => {
    res.on('close', () => (left += 1));
    answer = () => res.write('x');
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  for (let count = 1; count <= 2; count += 1) {
    const { socket } = open(t, port);
    socket.write('GET /a HTTP/1.1\r\nHost: h\r\n\r\n');
    await until(() => answer !== undefined, 'the call at the app');
    socket.destroy();
    if (count === 1) answer?.();
    await until(() => left === count, 'the end at the app');
    answer = undefined;
  }
});

test('a client that has closed behind what it asked next is seen while the app pauses in its answer', async (t) => {
  // Broke: behind 16 KiB of further requests it was never seen, unless the app went on.
  let left = false;
  let asked = false;
  const app = await startUpstream(t, 'a-1', (_, res) => {
    asked = true;
    res.flushHeaders();
    res.on('close', () => (left = true));
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const { socket } = open(t, port);
  socket.write('GET /a HTTP/1.1\r\nHost: h\r\n\r\n');
  await until(() => asked, 'the call at the app');
  socket.end('GET /a HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(8_000));
  await until(() => left, 'the end at the app');
});

test('an upgrade whose client ends its half at once is joined, and the app sees the end', async (t) => {
  let ended = false;
  const app = await startUpstream(t, 'a-1', (_, res) => res.end());
  app.server.on('upgrade', (_, socket: Socket) => {
    socket.on('end', () => {
      ended = true;
      socket.end('bye');
    });
    socket.resume();
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const { socket, text } = open(t, port);
  socket.end('GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
  await until(() => socket.closed, 'the end');
  assert.equal(ended, true);
  assert.match(text(), /^HTTP\/1\.1 101 [^]*bye$/);
});

test('a client that ends its half together with a body gets its answer, and one that ends it within the body is gone', async (t) => {
  // Broke: the end was heard before the connection to the app stood and the body was wanted.
  const app = await startUpstream(t, 'a-1', (req, res) => {
    let bytes = 0;
    req.on('data', (chunk: Buffer) => (bytes += chunk.length));
    req.on('end', () => res.end(`${bytes} bytes`));
  });
  const router = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const whole = open(t, router.port);
  whole.socket.end('POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello');
  await until(() => whole.text().endsWith('5 bytes'), 'the answer');
  const part = open(t, router.port);
  let closed = false;
  part.socket.on('close', () => (closed = true));
  part.socket.end('POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\nhello');
  await until(() => closed, 'the end of the connection');
  assert.equal(part.text(), '');
});
