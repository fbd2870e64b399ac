/** Peers that do what they may not, or what no good one does: bounded, in order, and nobody else's harm. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startRawApp } from '../testing/raw-bytes.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import {
  asleep,
  call,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  type RouterUnderTest,
} from '../testing/router.ts';

function open(t: TestContext, port: number): Socket {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  return socket;
}

async function metric({ registry }: RouterUnderTest, name: string): Promise<number> {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await registry.metrics())?.[1]);
}

/** Writes the same again and again for as long as the other side takes it. @returns bytes that it took. */
async function flood(socket: Socket, bytes: Buffer, maxBytes: number): Promise<number> {
  let idleMs = 0;
  let last = 0;
  while (!socket.destroyed && idleMs < 300 && socket.bytesWritten - socket.writableLength < maxBytes) {
    if (socket.writableLength < 1_048_576) socket.write(bytes);
    await pause(5);
    const taken = socket.bytesWritten - socket.writableLength;
    idleMs = taken === last ? idleMs + 5 : 0;
    last = taken;
  }
  return last;
}

const bufferBound = 1_048_576;

test('requests that come one behind the other from a client that reads no answer wait, whoever answers them', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('x'.repeat(4_096)));
  const router = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  await until(() => router.router.ready().ok, 'ready');
  const many = [
    { path: '/none', count: 20_000 },
    { path: '/a', count: 3_000 },
  ];
  for (const { path, count } of many) {
    const socket = open(t, router.port);
    socket.pause();
    await flood(socket, Buffer.from(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`.repeat(100)), count * 33);
    assert.ok((await metric(router, 'holdfast_router_buffered_bytes_max')) < bufferBound, path);
    // It reads after all: every answer comes.
    let text = '';
    socket.on('data', (chunk: Buffer) => (text = (text + chunk.toString('latin1')).slice(-5_000)));
    socket.resume();
    socket.write(`GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    await until(() => socket.closed, 'the last answer', { withinMs: 30_000 });
    assert.match(text, /connection: close/i);
  }
});

test('interim answers without end go no faster than the client takes them', async (t) => {
  let app: Socket | undefined;
  const raw = await startRawApp(t, { onData: (socket) => (app = socket) });
  const router = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target))] });
  const client = open(t, router.port);
  client.pause();
  client.write('GET /a HTTP/1.1\r\nHost: h\r\n\r\n');
  await until(() => app !== undefined, 'the call at the app');
  const hints = Buffer.from(`HTTP/1.1 103 Early Hints\r\nLink: </${'x'.repeat(900)}>\r\n\r\n`.repeat(100));
  await flood(app as unknown as Socket, hints, 33_554_432);
  assert.ok((await metric(router, 'holdfast_router_buffered_bytes_max')) < bufferBound);
  (app as unknown as Socket).write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok');
  let text = '';
  client.on('data', (chunk: Buffer) => (text = (text + chunk.toString('latin1')).slice(-2_000)));
  client.resume();
  await until(() => text.endsWith('\r\n\r\nok'), 'the answer', { withinMs: 30_000 });
});

test('a body whose rest is thrown away and the requests behind it are seen in the order in which they came', async (t) => {
  // Broke: bytes that waited in the paused socket were taken for the next request, before those that had been read.
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(req.url));
  const router = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app))), routeOf('b', asleep)] });
  const socket = open(t, router.port);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.write('POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n');
  await until(() => router.router.held === 1, 'the held call');
  const padding = 'GET /a/evil HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(200);
  const next = `POST /a/good HTTP/1.1\r\nHost: h\r\nContent-Length: ${padding.length}\r\n\r\n`;
  socket.write(`${'x'.repeat(40_000)}${next}`);
  // It is paused then, whether its bytes come at once or in records of TLS.
  while ((await metric(router, 'holdfast_router_read_ahead_bytes')) < 16_384) await pause(2);
  socket.write(padding);
  socket.write('GET /a/last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
  await pause(50);
  router.agent.push(
    routeOf('b', {
      state: 'failed',
      failure: { code: 'version_failed', phase: 'rollout', owner: 'app' },
    }),
  );
  await until(() => socket.closed, 'the end');
  assert.doesNotMatch(text, /\/evil/);
  assert.match(text, /502[^]*\/good[^]*\/last/);
});

test('a reader slower than a small stream buffer gets all of it, either way', async (t) => {
  const size = 8_388_608;
  let got = 0;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.method === 'GET') return void res.end(Buffer.alloc(size));
    req.pause();
    setTimeout(() => req.resume(), 300);
    req.on('data', (chunk: Buffer) => (got += chunk.length));
    req.on('end', () => res.end('done'));
  });
  const router = await startTestRouter(t, {
    config: { stream_buffer_bytes: 4_096 },
    routes: [routeOf('a', ready(targetOf(app)))],
  });
  const down = open(t, router.port);
  down.write('GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
  down.pause();
  await pause(300);
  let bytes = 0;
  down.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    down.pause();
    setTimeout(() => down.resume(), 1);
  });
  down.resume();
  await until(() => bytes > size, 'the whole answer', { withinMs: 20_000 });
  const up = open(t, router.port);
  let text = '';
  up.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  up.write(`POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`);
  up.write(Buffer.alloc(size));
  await until(() => text.endsWith('done'), 'the answer to the upload', { withinMs: 20_000 });
  assert.equal(got, size);
});

test('what a held call sends in single bytes costs no more than what it sends at once', async (t) => {
  // Broke: the bytes alone were counted, each of which had a buffer of its own.
  // So little in all that nobody is read further as time goes by.
  const config = { read_ahead_max_bytes: 262_144 };
  const router = await startTestRouter(t, { routes: [routeOf('b', asleep)], config });
  const socket = open(t, router.port);
  socket.write('POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n');
  await until(() => router.router.held === 1, 'the held call');
  for (let sent = 0; sent < 1_000; sent += 1) {
    socket.write('x');
    await new Promise(setImmediate);
  }
  await pause(20);
  // That many are never read by themselves, which would be 257,000: it is held up long before, if a little later each time it is looked at.
  const counted = await metric(router, 'holdfast_router_read_ahead_bytes');
  assert.ok(counted >= 16_384 && counted < 131_072, String(counted));
});

test('a drain lets a slow client have the rest of an answer that the app has finished', async (t) => {
  const size = 6_000_000;
  const app = await startUpstream(t, 'a-1', (_, res) => res.end(Buffer.alloc(size)));
  const { router, port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  await until(() => router.ready().ok, 'ready');
  const socket = open(t, port);
  let bytes = 0;
  socket.write('GET /a HTTP/1.1\r\nHost: h\r\n\r\n');
  let drain: Promise<void> | undefined;
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    socket.pause();
    setTimeout(() => socket.resume(), 1);
    // The app is done with it some time before its client is.
    if (bytes > size - 300_000) drain ??= router.drain();
  });
  await until(() => bytes > size || socket.closed, 'the end', { withinMs: 30_000 });
  assert.ok(bytes > size, `${bytes} bytes`);
  await drain;
});

test('a drain waits for a request of which half has come', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { router, port, registry } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const socket = open(t, port);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.write('GET /a HTTP/1.1\r\nHo');
  while (!/read_ahead_bytes [1-9]/.test(await registry.metrics())) await pause(2);
  const drain = router.drain();
  await pause(20);
  socket.write('st: h\r\n\r\n');
  await until(() => socket.closed, 'the end');
  assert.match(text, /^HTTP\/1\.1 200 [^]*Connection: close\r\n\r\nok$/);
  await drain;
});

test('an app that says more than its answer, however late, gets no second call by any of its connections', async (t) => {
  // Broke: said a moment later, it was taken for the answer to the next call, and that one's for the one after it.
  const clock = createShiftedClock();
  let behind = 'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil';
  const app = await startRawApp(t, {
    onData: (socket) => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      setTimeout(() => socket.write(behind), 5);
    },
  });
  const { port } = await startTestRouter(t, { clock, routes: [routeOf('a', ready(app.target))] });
  assert.equal((await call(port, '/a')).body, 'ok');
  await pause(30);
  for (let count = 0; count < 20; count += 1) assert.equal((await call(port, '/a')).body, 'ok');
  assert.equal(app.connections(), 21);
  behind = '';
  clock.advance(61_000);
  for (let count = 0; count < 3; count += 1) assert.equal((await call(port, '/a')).body, 'ok');
  assert.equal(app.connections(), 22);
});

test('a drain serves the first request of a connection that it has just let in', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { router, port, registry } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const socket = open(t, port);
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  while (!/router_connections 1/.test(await registry.metrics())) await pause(2);
  const drain = router.drain();
  await pause(20);
  socket.write('GET /a HTTP/1.1\r\nHost: h\r\n\r\n');
  await until(() => socket.closed, 'the end');
  assert.match(text, /^HTTP\/1\.1 200 /);
  await drain;
});
