import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { connect, createServer as createRawServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Target } from '../../shared/protocol/routes.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

interface Client {
  readonly socket: Socket;
  text(): string;
  ended(): 'open' | 'clean' | 'reset';
}

function open(t: TestContext, port: number): Client {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let text = '';
  let ended: 'open' | 'clean' | 'reset' = 'open';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => (ended = 'reset'));
  socket.on('close', () => (ended = ended === 'open' ? 'clean' : ended));
  t.after(() => socket.destroy());
  return { socket, text: () => text, ended: () => ended };
}

/** An app that acts on the first bytes of a call. */
async function startApp(t: TestContext, act: (socket: Socket) => void): Promise<Target> {
  const server = createRawServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.pause();
      act(socket);
    });
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return { id: 'early', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

const head = 'POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n';
const tooLarge = 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 9\r\nConnection: close\r\n\r\ntoo large';
const part = Buffer.alloc(20_000, 'x');

test('an answer that comes before a reset reaches the client, although the body is written into that reset', async (t) => {
  // Regression: the failed write discarded the answer that had not been read yet, and the client got 502.
  let client: Client | undefined;
  const app = await startApp(t, (socket) => {
    // In this order: the router sees the client's bytes first, and writes them before it reads the answer.
    client?.socket.write(part);
    socket.write(tooLarge);
    socket.resetAndDestroy();
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app))] });
  for (let count = 0; count < 20; count += 1) {
    const current = open(t, port);
    client = current;
    current.socket.write(head);
    current.socket.write(part);
    await until(() => current.text().endsWith('too large') || current.ended() !== 'open', 'an answer');
    assert.match(current.text(), /^HTTP\/1\.1 413 /);
    current.socket.destroy();
  }
});

test('an early answer larger than one read reaches the client, too, and the rest of the upload is discarded', async (t) => {
  const body = 'y'.repeat(90_000);
  const app = await startApp(t, (socket) => {
    client.socket.write(part);
    socket.write(`HTTP/1.1 413 Too Large\r\nContent-Length: ${body.length}\r\n\r\n${body}`, () =>
      socket.resetAndDestroy(),
    );
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app))] });
  const client = open(t, port);
  client.socket.write(head.replace('100000000', String(3 * part.length)));
  client.socket.write(part);
  await until(() => client.text().endsWith('yyyy') || client.ended() !== 'open', 'the answer');
  assert.equal(client.text().split('\r\n\r\n')[1]?.length, body.length);
  const behind = client.text().length;
  client.socket.write(part);
  client.socket.write('GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
  await until(() => client.ended() !== 'open', 'the end');
  assert.match(client.text().slice(behind), /^HTTP\/1\.1 404 /);
});

for (const [what, ends, outcome] of [
  ['that ended before its socket was reset is whole', (socket: Socket) => void socket.end(), /\r\n0\r\n\r\n$/],
  [
    'that was reset before it ended never looks whole',
    (socket: Socket) => void socket.resetAndDestroy(),
    /early$|early\r\n$/,
  ],
] as const) {
  test(`an early answer without a length ${what}`, async (t) => {
    let app: Socket | undefined;
    const target = await startApp(t, (socket) => {
      app = socket;
      client.socket.write(part);
      socket.write('HTTP/1.1 403 Forbidden\r\n\r\nearly', () => ends(socket));
    });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(target))] });
    const client = open(t, port);
    client.socket.write(head);
    client.socket.write(part);
    await until(() => /early/.test(client.text()), 'the answer');
    for (let count = 0; count < 3 && client.ended() === 'open'; count += 1) {
      client.socket.write(part);
      await new Promise(setImmediate);
    }
    await until(
      () => outcome.test(client.text()) && (client.ended() !== 'open' || app?.destroyed === false),
      'the end',
    );
    assert.match(client.text(), /^HTTP\/1\.1 403 /);
    assert.match(client.text(), outcome);
  });
}

test('an app that resets without an answer is 502 upstream_reset, whatever the client still sends', async (t) => {
  const app = await startApp(t, (socket) => {
    client.socket.write(part);
    socket.resetAndDestroy();
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app))] });
  const client = open(t, port);
  client.socket.write(head);
  client.socket.write(part);
  await until(() => client.text().includes('upstream_reset'), 'the answer');
});

test('a server of node that refuses uploads at their head and closes is heard by every client', async (t) => {
  const server = createServer((req, res) => {
    res.writeHead(413, { Connection: 'close', 'Content-Length': 9 });
    res.end('too large', () => req.socket.destroy());
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const target = { id: 'node', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(target))] });
  const statuses = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const client = open(t, port);
      client.socket.write(head);
      const more = (): void => {
        while (!client.socket.destroyed && client.text() === '' && client.socket.write(part));
      };
      client.socket.on('drain', more);
      more();
      await until(() => client.text().endsWith('too large') || client.ended() !== 'open', 'an answer');
      client.socket.destroy();
      return client.text().slice(9, 12);
    }),
  );
  assert.deepEqual([...new Set(statuses)], ['413']);
});
