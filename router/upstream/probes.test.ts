import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../shared/wait/clock.ts';
import type { CallApp } from '../call/call.ts';
import { Probes } from './probes.ts';
import type { UpstreamTarget } from './target.ts';

/** Sets a target aside that this server is. */
async function setAside(t: TestContext, server: Server, route: { host: string; protocol?: 'h2c' } = { host: '' }) {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  const back = Promise.withResolvers<void>();
  const probes = new Probes({ clock: systemClock, connectTimeoutMs: 1_000, onBack: () => back.resolve() });
  t.after(() => probes.close());
  const { port } = server.address() as AddressInfo;
  const target = { host: '127.0.0.1', port, listed: true, setAside: false, readmit: () => (target.setAside = false) };
  probes.setAside({ name: 'hello', route } as CallApp, target as unknown as UpstreamTarget);
  return { target, back: back.promise };
}

test('a target that was set aside is back once it answers, whatever it says, asked by the host of its route', async (t) => {
  const hosts: (string | undefined)[] = [];
  const server = createServer(({ headers }, response) => {
    hosts.push(headers.host);
    response.writeHead(404).end();
  });
  const { target, back } = await setAside(t, server, { host: 'shop.example' });
  await back;
  assert.equal(target.setAside, false);
  assert.deepEqual(hosts, ['shop.example']);
});

test('an open port that hangs up is not back, until it answers', async (t) => {
  let asked = 0;
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      asked += 1;
      if (asked < 3) socket.destroy();
      else socket.end('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
    });
  });
  const { back } = await setAside(t, server);
  await back;
  assert.equal(asked, 3);
});

test('a target that keeps the connection without an answer is back: it takes calls', async (t) => {
  const server = createTcpServer((socket) => socket.on('error', () => undefined).resume());
  const { back } = await setAside(t, server);
  await back;
});
