/** WebSocket through a router, with the cases of its test suites: in both directions the output equals the input, however it was cut. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import type { Target } from '../../shared/protocol/routes.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, ready, routeOf, startTestRouter, type RouterUnderTest } from '../testing/router.ts';

interface App {
  readonly target: Target;
  readonly server: WebSocketServer;
}

async function startApp(t: TestContext, onSocket?: (socket: WebSocket) => void): Promise<App> {
  const http = createServer();
  const server = new WebSocketServer({ server: http, maxPayload: 64 * 1024 * 1024 });
  server.on('connection', (socket) => {
    socket.on('error', () => undefined);
    if (onSocket !== undefined) onSocket(socket);
    else socket.on('message', (data: Buffer, isBinary: boolean) => socket.send(data, { binary: isBinary }));
  });
  await new Promise<void>((resolve) => void http.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    return new Promise((resolve) => http.close(resolve));
  });
  return { target: { id: 'ws', host: '127.0.0.1', port: (http.address() as AddressInfo).port }, server };
}

async function openSocket(t: TestContext, port: number): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/a`, { perMessageDeflate: false });
  socket.on('error', () => undefined);
  t.after(() => socket.terminate());
  await new Promise((resolve) => socket.once('open', resolve));
  return socket;
}

const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9 } as const;

/** A frame as a client sends it, RFC 6455 §5.2. */
function frame(kind: number, data: Buffer, fin = true): Buffer {
  const length = data.length;
  const size = length < 126 ? Buffer.alloc(0) : Buffer.alloc(length < 65_536 ? 2 : 8);
  if (size.length === 2) size.writeUInt16BE(length);
  if (size.length === 8) size.writeBigUInt64BE(BigInt(length));
  const second = 0x80 | (size.length === 0 ? length : size.length === 2 ? 126 : 127);
  const mask = randomBytes(4);
  const masked = Buffer.from(data.map((byte, at) => byte ^ (mask[at % 4] as number)));
  return Buffer.concat([Buffer.from([(fin ? 0x80 : 0) | kind, second]), size, mask, masked]);
}

interface RawClient {
  readonly socket: Socket;
  /** Behind the head of the 101. */
  bytes(): Buffer;
}

async function openRaw(t: TestContext, port: number): Promise<RawClient> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  let bytes = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => (bytes = Buffer.concat([bytes, chunk])));
  socket.write(
    'GET /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await until(() => bytes.includes('\r\n\r\n'), 'the switch');
  const head = bytes.indexOf('\r\n\r\n') + 4;
  assert.match(
    bytes.toString('latin1', 0, head),
    /^HTTP\/1\.1 101 [^]*sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/i,
  );
  return { socket, bytes: () => bytes.subarray(head) };
}

async function writeCut(socket: Socket, bytes: Buffer, size: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += size) {
    socket.write(bytes.subarray(at, at + size));
    await new Promise(setImmediate);
  }
}

async function startRouter(t: TestContext, app: App): Promise<RouterUnderTest> {
  return startTestRouter(t, { routes: [routeOf('a', ready(app.target))] });
}

test('text of several bytes a character comes whole, cut at every byte by frames and by writes', async (t) => {
  const text = Buffer.from('κόσμε – 水 𝄞 é');
  const app = await startApp(t);
  const { port } = await startRouter(t, app);
  const client = await openRaw(t, port);
  const echo = Buffer.concat([Buffer.from([0x81, text.length]), text]);
  for (let cut = 0; cut <= text.length; cut += 1) {
    const frames = Buffer.concat([
      frame(opcode.text, text.subarray(0, cut), false),
      // Control frames may come between the parts of a message, RFC 6455 §5.4.
      frame(opcode.ping, Buffer.from([cut])),
      frame(opcode.continuation, text.subarray(cut)),
    ]);
    const before = client.bytes().length;
    await writeCut(client.socket, frames, cut % 2 === 0 ? 1 : 7);
    const expected = Buffer.concat([Buffer.from([0x8a, 1, cut]), echo]);
    await until(() => client.bytes().length >= before + expected.length, `the echo of cut ${cut}`);
    assert.deepEqual(client.bytes().subarray(before), expected);
  }
});

test('messages of all lengths around the forms of a frame come back from an app that sends them in fragments', async (t) => {
  const app = await startApp(t, (socket) => {
    socket.on('message', (data: Buffer, binary: boolean) => {
      const third = Math.ceil(data.length / 3);
      socket.send(data.subarray(0, third), { binary, fin: false });
      socket.ping('x');
      socket.send(data.subarray(third, 2 * third), { binary, fin: false });
      socket.send(data.subarray(2 * third), { binary, fin: true });
    });
  });
  const { port } = await startRouter(t, app);
  const socket = await openSocket(t, port);
  let pings = 0;
  socket.on('ping', () => (pings += 1));
  const lengths = [0, 1, 124, 125, 126, 127, 128, 65_534, 65_535, 65_536, 65_537, 1_048_575, 1_048_576];
  for (const length of lengths) {
    const data = randomBytes(length);
    const echoed = new Promise<Buffer>((resolve) => socket.once('message', resolve));
    socket.send(data);
    assert.ok(data.equals(await echoed), `${length} bytes`);
  }
  assert.equal(pings, lengths.length);
});

test('closing codes and reasons go through both ways, and what breaks the protocol is the app’s to answer', async (t) => {
  const codes: unknown[] = [];
  const app = await startApp(t, (socket) => {
    socket.on('close', (code: number, reason: Buffer) => codes.push(`${code} ${reason.toString()}`));
    socket.on('message', (data: Buffer) => socket.close(Number(data.toString()), 'as told'));
  });
  const { port } = await startRouter(t, app);
  for (const code of [1000, 1001, 1003, 1011, 3000, 4999]) {
    const byClient = await openSocket(t, port);
    const seen = new Promise((resolve) => byClient.once('close', resolve));
    byClient.close(code, 'é');
    assert.equal(await seen, code);
    await until(() => codes.length === 1, 'the code at the app');
    assert.equal(codes.pop(), `${code} é`);
    const byApp = await openSocket(t, port);
    const told = new Promise((resolve) =>
      byApp.once('close', (got: number, why: Buffer) => resolve(`${got} ${why.toString()}`)),
    );
    byApp.send(String(code));
    assert.equal(await told, `${code} as told`);
    await until(() => codes.pop() !== undefined, 'the end at the app');
  }
  // Each of these is an error of the client that the app answers with 1002 or 1007: RFC 6455 §7.4.1.
  for (const [bad, code] of [
    [frame(opcode.text, Buffer.from([0xff, 0xfe])), 1007],
    [frame(opcode.continuation, Buffer.from('x')), 1002],
    [frame(3, Buffer.from('x')), 1002],
    [frame(opcode.ping, Buffer.alloc(126)), 1002],
    [frame(opcode.ping, Buffer.alloc(5), false), 1002],
    [Buffer.from([0x81, 0x01, 0x78]), 1002],
    [Buffer.from([0xc1, 0x80, 0, 0, 0, 0]), 1002],
  ] as const) {
    const client = await openRaw(t, port);
    client.socket.write(bad);
    await until(() => client.socket.closed || client.bytes().length >= 4, 'the answer');
    assert.equal(client.bytes()[0], 0x88);
    assert.equal(client.bytes().readUInt16BE(2), code);
  }
});

test('1,000 WebSockets at once have each its own echoes', async (t) => {
  const app = await startApp(t);
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const opening = Array.from({ length: 1_000 }, () => openSocket(t, port));
  agent.push(routeOf('a', ready(app.target)));
  const sockets = await Promise.all(opening);
  assert.equal((await agent.release('a', ['ws'], 1)).upgraded, 1_000);
  let right = 0;
  for (const [index, socket] of sockets.entries()) {
    let expected = 0;
    socket.on('message', (data: Buffer) => {
      if (data.toString() !== `${index} ${expected}`) return;
      right += 1;
      expected += 1;
      if (expected < 5) socket.send(`${index} ${expected}`);
    });
    socket.send(`${index} 0`);
  }
  await until(() => right === 5_000, 'all echoes', { withinMs: 30_000 });
  for (const [index, socket] of sockets.entries()) {
    if (index % 2 === 0) socket.terminate();
    else socket.close();
  }
  assert.deepEqual(await agent.release('a', ['ws'], 20_000), { inFlight: 0, upgraded: 0 });
});

test('a side that reads nothing costs what its bound says, either way, and gets all of it later', async (t) => {
  const message = randomBytes(65_536);
  const count = 400;
  let atApp = 0;
  let appSocket: WebSocket | undefined;
  const app = await startApp(t, (socket) => {
    appSocket = socket;
    socket.on('message', (data: Buffer) => (atApp += data.length));
  });
  const { port, registry } = await startRouter(t, app);
  const client = await openSocket(t, port);
  let atClient = 0;
  client.on('message', (data: Buffer) => (atClient += data.length));
  client.pause();
  appSocket?.pause();
  for (let sent = 0; sent < count; sent += 1) {
    client.send(message);
    appSocket?.send(message);
  }
  const waiting = async (): Promise<number> => Number(/buffered_bytes_max (\d+)/.exec(await registry.metrics())?.[1]);
  while ((await waiting()) < 65_536) await new Promise(setImmediate);
  let before = -1;
  await until(() => {
    const still = client.bufferedAmount === before && client.bufferedAmount > 0;
    before = client.bufferedAmount;
    return still;
  }, 'the client is held up');
  assert.ok((await waiting()) < 300_000);
  client.resume();
  appSocket?.resume();
  await until(() => atClient === count * message.length && atApp === atClient, 'all of it', { withinMs: 30_000 });
});

test('a reset of either side is a reset for the other, in the middle of a message', async (t) => {
  let appSocket: WebSocket | undefined;
  const codes: number[] = [];
  const app = await startApp(t, (socket) => {
    appSocket = socket;
    socket.on('close', (code: number) => codes.push(code));
  });
  const { port, agent } = await startRouter(t, app);
  const first = await openRaw(t, port);
  first.socket.write(frame(opcode.binary, Buffer.alloc(100_000)).subarray(0, 50_000));
  await until(() => first.socket.writableLength === 0, 'half a message');
  first.socket.resetAndDestroy();
  await until(() => codes.length === 1, 'the end at the app');
  assert.equal(codes[0], 1006);
  const second = await openRaw(t, port);
  let reset = false;
  second.socket.on('error', (error: NodeJS.ErrnoException) => (reset = error.code === 'ECONNRESET'));
  (appSocket as unknown as { _socket: Socket })._socket.resetAndDestroy();
  await until(() => second.socket.closed, 'the end at the client');
  assert.equal(reset, true);
  assert.deepEqual(await agent.release('a', ['ws'], 5_000), { inFlight: 0, upgraded: 0 });
});

test('a drain leaves a WebSocket open until it ends itself, and closes it with 1001 at its timeout', async (t) => {
  const app = await startApp(t);
  const first = await startTestRouter(t, { routes: [routeOf('a', ready(app.target))] });
  const socket = await openSocket(t, first.port);
  const drained = first.router.drain();
  const echoed = new Promise((resolve) => socket.once('message', resolve));
  socket.send('during');
  assert.equal(String(await echoed), 'during');
  socket.close();
  await drained;
  const second = await startTestRouter(t, {
    routes: [routeOf('a', ready(app.target))],
    config: { drain_timeout_secs: 0.2 },
  });
  const stays = await openSocket(t, second.port);
  const closed = new Promise((resolve) => stays.once('close', resolve));
  await second.router.drain();
  assert.equal(await closed, 1001);
  await until(() => app.server.clients.size === 0, 'the end at the app');
});
