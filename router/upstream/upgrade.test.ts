import assert from 'node:assert/strict';
import { createServer, request, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import type { Target } from '../../shared/protocol/routes.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';

async function startSocketApp(t: TestContext, id: string): Promise<Target> {
  const server = createServer();
  const sockets = new WebSocketServer({ server });
  sockets.on('connection', (socket, req) => {
    socket.on('message', (data: Buffer) => socket.send(`${req.url} ${data.toString()}`));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets.clients) socket.terminate();
    return new Promise((resolve) => server.close(resolve));
  });
  return { id, host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

/** An app that answers an upgrade by hand and hands out its socket. */
async function startRawApp(t: TestContext, onSocket: (socket: Socket, head: Buffer) => void): Promise<Target> {
  const server = createServer();
  const open = new Set<Socket>();
  server.on('upgrade', (_: IncomingMessage, socket: Socket, head: Buffer) => {
    open.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket, head);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { id: 'raw', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n';
const upgradeHead = 'GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n';

test('a WebSocket that is opened while the app sleeps is held, then joined, and counted while it lasts', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const app = await startSocketApp(t, 'a-1');
  const socket = new WebSocket(`ws://127.0.0.1:${port}/a/chat?x`);
  t.after(() => socket.terminate());
  const messages: string[] = [];
  socket.on('message', (data: Buffer) => messages.push(data.toString()));
  await until(() => router.held === 1, 'a held upgrade');
  agent.push(routeOf('a', ready(app)));
  await new Promise((resolve) => socket.once('open', resolve));
  socket.send('hello');
  await until(() => messages.length === 1, 'the echo');
  assert.equal(messages[0], '/chat?x hello');
  agent.push(routeOf('a', { state: 'hold', reason: 'draining' }));
  assert.deepEqual(await agent.release('a', ['a-1'], 1), { inFlight: 0, upgraded: 1 });
  const released = agent.release('a', ['a-1'], 60_000);
  socket.close();
  assert.deepEqual(await released, { inFlight: 0, upgraded: 0 });
});

test('each side may end its half first, and nothing of the other half is lost', async (t) => {
  let atApp = '';
  const app = await startRawApp(t, (socket) => {
    socket.write(switching);
    socket.on('data', (chunk: Buffer) => (atApp += chunk.toString()));
    socket.on('end', () => socket.end(`got ${atApp}`));
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app))] });
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  let answer = '';
  socket.on('data', (chunk: Buffer) => (answer += chunk.toString()));
  socket.write(`${upgradeHead}early `);
  await until(() => answer.includes('101'), 'the switch');
  socket.end('late');
  await new Promise((resolve) => socket.once('close', resolve));
  assert.match(answer, /got early late$/);
});

test('a side that does not read slows the other down', async (t) => {
  let sent = 0;
  const total = 64 * 1024 * 1024;
  const app = await startRawApp(t, (socket) => {
    socket.write(switching);
    const chunk = Buffer.alloc(65_536);
    const more = (): void => {
      while (sent < total) {
        sent += chunk.length;
        if (!socket.write(chunk)) return;
      }
      socket.end();
    };
    socket.on('drain', more);
    more();
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app))] });
  const socket = connect({ host: '127.0.0.1', port });
  t.after(() => socket.destroy());
  socket.write(upgradeHead);
  let before = -1;
  await until(() => {
    const still = sent === before && sent > 0;
    before = sent;
    return still;
  }, 'the app waits');
  assert.ok(sent < total, `${sent} bytes are in buffers`);
  let read = 0;
  socket.on('data', (chunk: Buffer) => (read += chunk.length));
  await new Promise((resolve) => socket.once('close', resolve));
  assert.ok(read > total);
});

test('an upgrade that the app refuses gets the answer of the app', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.writeHead(200).end());
  app.server.on('upgrade', (_, socket: Socket) => {
    socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnope');
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const answer = await call(port, '/a', { headers: { Connection: 'Upgrade', Upgrade: 'websocket' } });
  assert.deepEqual([answer.status, answer.body], [403, 'nope']);
  const unknown = await call(port, '/none', { headers: { Connection: 'Upgrade', Upgrade: 'websocket' } });
  assert.equal(JSON.parse(unknown.body).code, 'route_not_found');
});

test('a client that leaves while its upgrade is held frees its place', async (t) => {
  const { router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const socket = connect({ host: '127.0.0.1', port });
  socket.write(upgradeHead);
  await until(() => router.held === 1, 'a held upgrade');
  socket.destroy();
  await until(() => router.held === 0, 'the place');
});

test('when either side dies, the other is closed', async (t) => {
  const sockets: Socket[] = [];
  const app = await startRawApp(t, (socket) => {
    sockets.push(socket);
    socket.write(switching);
  });
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(app))] });
  const open = async (): Promise<Socket> => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => undefined);
    socket.write(upgradeHead);
    await new Promise((resolve) => socket.once('data', resolve));
    return socket;
  };
  const first = await open();
  const closed = new Promise((resolve) => sockets[0]?.once('close', resolve));
  sockets[0]?.resume();
  first.resetAndDestroy();
  await closed;
  const second = await open();
  const ended = new Promise((resolve) => second.once('close', resolve));
  sockets[1]?.resetAndDestroy();
  await ended;
  assert.deepEqual(await agent.release('a', ['raw'], 5_000), { inFlight: 0, upgraded: 0 });
});

test('a request with a body that offers h2c is an ordinary call', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => {
    assert.equal(req.headers.upgrade, undefined);
    req.pipe(res);
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const answer = await new Promise<string>((resolve) => {
    const headers = {
      Connection: 'Upgrade, HTTP2-Settings',
      Upgrade: 'h2c',
      'HTTP2-Settings': 'AAM',
      'Content-Length': 4,
    };
    const req = request({ host: '127.0.0.1', port, path: '/a', method: 'POST', agent: false, headers }, (res) => {
      res.setEncoding('utf8').on('data', resolve);
    });
    req.end('body');
  });
  assert.equal(answer, 'body');
});
