import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectHttp2 } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { exchangeBytes } from '../testing/raw-bytes.ts';
import {
  call,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  type RouterUnderTest,
} from '../testing/router.ts';
import type { RouterDeps } from '../router.ts';

interface Logged extends RouterUnderTest {
  /** Ends the router. */
  readonly lines: () => Promise<Record<string, unknown>[]>;
}

async function startLogging(t: TestContext, config: Partial<RouterDeps['config']> = {}): Promise<Logged> {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-log-'));
  const file = join(folder, 'access.log');
  const fd = openSync(file, 'a');
  t.after(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });
  const app = await startUpstream(t, 'a-1', (req, res) => void req.resume().on('end', () => res.end('hello')));
  app.server.on('upgrade', (_, socket: Socket) => {
    socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n');
    socket.pipe(socket);
  });
  const router = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app)))],
    config,
    accessLog: { fd, nonBlocking: true },
  });
  return {
    ...router,
    async lines() {
      await router.router.close();
      const text = readFileSync(file, 'utf8');
      assert.ok(text === '' || text.endsWith('\n'));
      return text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Record<string, unknown>);
    },
  };
}

test('a call is a line of JSON with what is known of it, and without its query', async (t) => {
  const { port, lines } = await startLogging(t);
  const before = Date.now();
  const answer = await call(port, '/a/x?secret=1', { method: 'POST', body: 'abc', headers: { 'User-Agent': 'ua/1' } });
  assert.equal(answer.body, 'hello');
  const [line, ...more] = await lines();
  assert.deepEqual(more, []);
  const { time, requestId, durationMs, ...rest } = line ?? {};
  assert.match(String(time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.ok(Math.abs(Date.parse(String(time)) - before) < 60_000);
  assert.match(String(requestId), /^[0-9a-f-]{36}$/);
  assert.ok(Number.isInteger(durationMs));
  assert.deepEqual(rest, {
    level: 'info',
    component: 'router',
    method: 'POST',
    host: '127.0.0.1',
    path: '/a/x',
    app: 'a',
    status: 200,
    bytesReceived: 3,
    bytesSent: 5,
    remoteAddress: '127.0.0.1',
    protocol: 'HTTP/1.1',
    scheme: 'http',
    userAgent: 'ua/1',
    msg: 'call',
  });
});

test('whatever a client sends is in its line as it came, and forges neither fields nor lines', async (t) => {
  const { port, lines } = await startLogging(t);
  const path = '/a/"\\x{}';
  const agent = '","status":1,"x":"\t\\é';
  await exchangeBytes(
    port,
    `GET ${path} HTTP/1.1\r\nHost: h\r\nuSER-aGENT: ${agent}\r\nUser-Agent: second\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n\r\n`,
  );
  await exchangeBytes(port, `GET /a HTTP/1.0\r\nHost: h\r\nUser-Agent: ${'u'.repeat(5_000)}\r\n\r\n`);
  const [line, long] = await lines();
  assert.deepEqual([line?.['path'], line?.['userAgent'], line?.['forwardedFor']], [path, agent, undefined]);
  assert.deepEqual([long?.['userAgent'], long?.['protocol']], [`${'u'.repeat(2_048)}…`, 'HTTP/1.0']);
});

test('refused calls and refused requests have lines too, with the code and without an app', async (t) => {
  const { port, lines } = await startLogging(t);
  const { body } = await call(port, '/none');
  await exchangeBytes(port, 'GET / HTTP/1.1\r\n\r\n');
  const [none, bad] = await lines();
  assert.deepEqual(
    [none?.['status'], none?.['code'], none?.['app'], none?.['bytesSent']],
    [404, 'route_not_found', undefined, Buffer.byteLength(body)],
  );
  assert.deepEqual([bad?.['status'], bad?.['remoteAddress'], bad?.['msg']], [400, '127.0.0.1', 'request refused']);
  assert.deepEqual([bad?.['code'], bad?.['error']], ['request_invalid', 'The request is refused: no Host field.']);
});

test('what a trusted proxy says of the client is in the line', async (t) => {
  const { port, lines } = await startLogging(t, { trusted_proxies: ['127.0.0.1'] });
  await call(port, '/a', { headers: { 'X-Forwarded-For': '192.0.2.7', 'X-Request-Id': 'given"1' } });
  const [line] = await lines();
  assert.deepEqual([line?.['forwardedFor'], line?.['requestId']], ['192.0.2.7', 'given"1']);
});

test('an upgrade has its line when it ends, with what went each way', async (t) => {
  const { port, lines } = await startLogging(t);
  const socket = connect({ host: '127.0.0.1', port });
  socket.write('GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nabc');
  let got = '';
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      got += chunk.toString('latin1');
      if (got.endsWith('abc')) resolve();
    });
  });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.end();
  await closed;
  const [line, ...more] = await lines();
  assert.deepEqual(more, []);
  assert.deepEqual([line?.['status'], line?.['bytesReceived'], line?.['bytesSent']], [101, 3, 3]);
});

test('a call of HTTP/2 has the same line', async (t) => {
  const { port, lines } = await startLogging(t);
  const session = connectHttp2(`http://127.0.0.1:${port}`);
  t.after(() => session.destroy());
  const stream = session.request({ ':path': '/a/x?y', ':method': 'POST', 'user-agent': 'ua/2' });
  stream.resume().end('abc');
  await new Promise((resolve) => stream.once('end', resolve));
  session.close();
  const [line, ...more] = await lines();
  assert.deepEqual(more, []);
  const { protocol, path, status, bytesReceived, bytesSent, userAgent } = line ?? {};
  assert.deepEqual(
    [protocol, path, status, bytesReceived, bytesSent, userAgent],
    ['HTTP/2.0', '/a/x', 200, 3, 5, 'ua/2'],
  );
});
