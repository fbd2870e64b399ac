import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import type { Target } from '../../shared/protocol/routes.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter } from '../testing/router.ts';

/** Echoes each message: text as text, binary as binary. */
async function startEcho(t: TestContext): Promise<Target> {
  const server = createServer();
  const sockets = new WebSocketServer({ server, perMessageDeflate: true, maxPayload: 64 * 1024 * 1024 });
  sockets.on('connection', (socket) => {
    socket.on('message', (data: Buffer, isBinary: boolean) => socket.send(data, { binary: isBinary }));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  });
  return { id: 'echo', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

/** Lengths around each one at which the form of a frame, a buffer or a limit changes. */
const sizes = [
  0, 1, 2, 125, 126, 127, 128, 1_024, 4_095, 4_096, 16_383, 16_384, 65_535, 65_536, 65_537, 81_910, 81_920, 81_930,
  131_072, 1_048_576, 4_194_304,
];

for (const compressed of [false, true]) {
  test(`WebSocket frames of all sizes come back as they were, ${compressed ? 'compressed' : 'plain'}, one by one and all at once`, async (t) => {
    const echo = await startEcho(t);
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(echo))] });
    const socket = new WebSocket(`ws://127.0.0.1:${port}/a`, { perMessageDeflate: compressed });
    t.after(() => socket.terminate());
    const got: { readonly data: Buffer; readonly isBinary: boolean }[] = [];
    socket.on('message', (data: Buffer, isBinary: boolean) => got.push({ data, isBinary }));
    await new Promise((resolve) => socket.once('open', resolve));
    const sent = sizes.flatMap((size) => [
      { data: randomBytes(size), isBinary: true },
      { data: Buffer.from('é'.repeat(size / 2)), isBinary: false },
    ]);
    for (const [index, { data, isBinary }] of sent.entries()) {
      socket.send(data, { binary: isBinary });
      await until(() => got.length === index + 1, `message ${index}`);
    }
    got.length = 0;
    for (const { data, isBinary } of sent) socket.send(data, { binary: isBinary, fin: true });
    await until(() => got.length === sent.length, 'all messages');
    for (const [index, { data, isBinary }] of sent.entries()) {
      assert.equal(got[index]?.isBinary, isBinary);
      assert.equal(digest(got[index]?.data), digest(data), `message ${index} of ${data.length} bytes`);
    }
  });
}

test('pings, pongs, fragments and the closing code go through, also of a WebSocket that was held with frames behind it', async (t) => {
  const echo = await startEcho(t);
  const { port, router, agent } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const socket = new WebSocket(`ws://127.0.0.1:${port}/a`);
  t.after(() => socket.terminate());
  await until(() => router.held === 1, 'a held upgrade');
  agent.push(routeOf('a', ready(echo)));
  await new Promise((resolve) => socket.once('open', resolve));
  const pong = new Promise<Buffer>((resolve) => socket.once('pong', resolve));
  socket.ping('are you there');
  assert.equal(String(await pong), 'are you there');
  const echoed = new Promise<Buffer>((resolve) => socket.once('message', resolve));
  socket.send('one ', { fin: false });
  socket.send('two ', { fin: false });
  socket.send('three', { fin: true });
  assert.equal(String(await echoed), 'one two three');
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  socket.close(4_321, 'enough');
  assert.equal(await closed, 4_321);
  await until(() => router.held === 0, 'nothing left');
});

function digest(data: Buffer | undefined): string {
  return createHash('sha256')
    .update(data ?? '')
    .digest('hex');
}

test('much that the app sends with its 101 waits for a client that reads late, and is whole', async (t) => {
  const bytes = randomBytes(24_000_000);
  const server = createServer();
  server.on('upgrade', (_req, socket: Socket) => {
    socket.on('error', () => undefined);
    socket.cork();
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
    socket.end(bytes);
    socket.uncork();
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const target = { id: 'raw', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const { port, registry } = await startTestRouter(t, { routes: [routeOf('a', ready(target))] });
  const socket = connect({ port, host: '127.0.0.1' });
  socket.pause();
  socket.write('GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
  while (!/buffered_bytes_max [1-9]/.test(await registry.metrics())) await new Promise(setImmediate);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  socket.resume();
  await new Promise((resolve) => socket.on('close', resolve));
  const got = Buffer.concat(chunks);
  assert.equal(digest(got.subarray(got.indexOf('\r\n\r\n') + 4)), digest(bytes));
});

test('at the end of a drain a WebSocket is closed with 1001, both to the client and to the app', async (t) => {
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  const appSaw: number[] = [];
  sockets.on('connection', (socket) => socket.on('close', (code) => appSaw.push(code)));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const target = { id: 'ws', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const { port, router } = await startTestRouter(t, {
    config: { drain_timeout_secs: 0.1 },
    routes: [routeOf('a', ready(target))],
  });
  const socket = new WebSocket(`ws://127.0.0.1:${port}/a`);
  t.after(() => socket.terminate());
  const closed = new Promise<number>((resolve) => socket.once('close', resolve));
  await new Promise((resolve) => socket.once('open', resolve));
  await router.drain();
  assert.equal(await closed, 1001);
  await until(() => appSaw.length === 1, 'the app to see it');
  assert.deepEqual(appSaw, [1001]);
});

test('a WebSocket in the middle of a long frame is closed after that frame', async (t) => {
  const clock = createShiftedClock();
  const server = createServer();
  let finish: () => void = () => undefined;
  server.on('upgrade', (_req, socket: Socket) => {
    socket.on('error', () => undefined);
    socket.on('end', () => socket.end());
    socket.resume();
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    socket.write(Buffer.from([0x82, 5, 1, 2]));
    finish = () => socket.write(Buffer.from([3, 4, 5, 0x82, 1, 9]));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const target = { id: 'ws', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const routes = [routeOf('a', ready(target)), routeOf('b', asleep)];
  const { port, router } = await startTestRouter(t, { clock, routes });
  const socket = connect({ port, host: '127.0.0.1' });
  t.after(() => socket.destroy());
  socket.write('GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
  let got = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => (got = Buffer.concat([got, chunk])));
  const body = (): number[] => [...got.subarray(got.indexOf('\r\n\r\n') + 4)];
  await until(() => got.includes('\r\n\r\n') && body().length === 4, 'half a frame');
  let over = false;
  const held = call(port, '/b').then(() => (over = true));
  await until(() => router.held === 1, 'a held call');
  const drained = router.drain();
  await until(() => {
    if (!over) clock.advance(1_000);
    return over;
  }, 'the end of drain_timeout_secs, at which held calls are refused');
  await held;
  assert.equal(body().length, 4, 'nothing within the frame');
  finish();
  await until(() => body().length >= 14, 'the rest, and the Close');
  assert.deepEqual(body().slice(4), [3, 4, 5, 0x82, 1, 9, 0x88, 2, 3, 0xe9]);
  socket.end();
  await drained;
});
