import assert from 'node:assert/strict';
import { createServer, type IncomingMessage } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import type { Target } from '../../shared/protocol/routes.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

async function startApp(
  t: TestContext,
  onSocket: (socket: Socket, req: IncomingMessage, head: Buffer) => void,
): Promise<Target> {
  const server = createServer();
  const open = new Set<Socket>();
  server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
    open.add(socket);
    socket.on('error', () => undefined);
    onSocket(socket, req, head);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return { id: 'app', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n';

function openRaw(t: TestContext, port: number, allowHalfOpen: boolean): Socket {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen });
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  socket.write('GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
  return socket;
}

test('an upgraded connection is ended at its age, on both sides, and what was said until then arrives', async (t) => {
  const clock = createShiftedClock();
  let atApp = '';
  let appEnded = false;
  const app = await startApp(t, (socket) => {
    socket.write(switching);
    socket.on('data', (chunk: Buffer) => (atApp += chunk.toString()));
    socket.on('end', () => (appEnded = true));
  });
  const route = routeOf('a', ready(app), { upgradeMaxAgeMs: 60_000 });
  const { port, agent } = await startTestRouter(t, { clock, routes: [route] });
  const socket = openRaw(t, port, false);
  let ended = false;
  socket.on('data', () => undefined);
  socket.on('end', () => (ended = true));
  await until(() => socket.bytesRead > 0, 'the switch');
  clock.advance(59_000);
  socket.write('hello');
  await until(() => atApp === 'hello', 'what was said');
  assert.equal(ended || appEnded, false);
  clock.advance(1_500);
  await until(() => ended && appEnded, 'both ends');
  assert.deepEqual(await agent.release('a', ['app'], 5_000), { inFlight: 0, upgraded: 0 });
});

test('sides that stay open after that, or take nothing, are cut off', async (t) => {
  const clock = createShiftedClock();
  let closed = 0;
  const app = await startApp(t, (socket) => {
    socket.allowHalfOpen = true;
    socket.on('close', () => (closed += 1));
    socket.write(switching);
    // Sends as much as the socket takes, and never ends.
    const chunk = Buffer.alloc(65_536);
    const more = (): void => {
      while (socket.writable && socket.write(chunk));
    };
    socket.on('drain', more);
    more();
    socket.resume();
  });
  const { port, agent } = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', ready(app), { upgradeMaxAgeMs: 60_000 })],
  });
  const socket = openRaw(t, port, true);
  socket.pause();
  const free = agent.release('a', ['app'], 30_000);
  while ((await agent.release('a', ['app'], 1)).upgraded === 0) await new Promise(setImmediate);
  await until(() => {
    clock.advance(10_000);
    return closed === 1;
  }, 'the end at the app');
  await free;
  assert.deepEqual(await agent.release('a', ['app'], 5_000), { inFlight: 0, upgraded: 0 });
});

test('a WebSocket is closed with 1001 at its age and may open another one; without an age it stays', async (t) => {
  const clock = createShiftedClock();
  const sockets = new WebSocketServer({ noServer: true });
  const app = await startApp(t, (socket, req, head) => {
    sockets.handleUpgrade(req, socket, head, (peer) => peer.on('message', (data: Buffer) => peer.send(data)));
  });
  const routes = [routeOf('a', ready(app), { upgradeMaxAgeMs: 60_000 }), routeOf('b', ready({ ...app, id: 'app-b' }))];
  const { port } = await startTestRouter(t, { clock, routes });
  const openSocket = async (path: string): Promise<WebSocket> => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
    t.after(() => socket.terminate());
    await new Promise((resolve) => socket.once('open', resolve));
    return socket;
  };
  const stays = await openSocket('/b');
  for (let count = 0; count < 2; count += 1) {
    const socket = await openSocket('/a');
    const code = new Promise((resolve) => socket.once('close', resolve));
    clock.advance(61_000);
    assert.equal(await code, 1001);
  }
  const echoed = new Promise((resolve) => stays.once('message', resolve));
  stays.send('still here');
  assert.equal(String(await echoed), 'still here');
});
