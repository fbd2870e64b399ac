import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { loadRouterConfig } from '../config.ts';
import { callBy, openSession, startHttp2App } from '../testing/h2.ts';
import { startRawApp } from '../testing/raw-bytes.ts';
import {
  asleep,
  call,
  metric,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  untilMetric,
} from '../testing/router.ts';

/** What an installation gets that sets nothing. */
const { max_header_bytes, read_ahead_max_bytes } = loadRouterConfig({
  file: undefined,
  env: { HOLDFAST_ROUTER_TOKEN: 'a-token-for-tests-0123456789' },
});
const config = { max_header_bytes, read_ahead_max_bytes };
/** As a login by OpenID Connect leaves them behind. */
const cookie = Array.from({ length: 5 }, (_, index) => `session.${index}=${'c'.repeat(4_000)}`).join('; ');

test('20 kB of cookies reach the app, by HTTP/1.1 and HTTP/2, at once or held', async (t) => {
  // Node's own server has a limit of 16 KiB.
  const app = await startRawApp(t, {
    onData(socket, got) {
      const length = String(/\r\ncookie: (.*)\r\n/i.exec(got.slice(got.lastIndexOf('GET ')))?.[1]?.length);
      if (got.endsWith('\r\n\r\n'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${length.length}\r\n\r\n${length}`);
    },
  });
  const { port, agent, router } = await startTestRouter(t, {
    routes: [routeOf('a', ready(app.target)), routeOf('b', asleep)],
    config,
  });
  const session = openSession(t, port);
  const expected = [200, String(cookie.length)];
  const [first, second] = await Promise.all([
    call(port, '/a', { headers: { Cookie: cookie } }),
    callBy(session, '/a', { cookie }),
  ]);
  assert.deepEqual([first.status, first.body], expected);
  assert.deepEqual([second.status, second.body], expected);
  const held = Promise.all([
    call(port, '/b', { headers: { Cookie: cookie } }),
    callBy(session, '/b', { cookie: cookie.split('; ') }),
  ]);
  while (router.held < 2) await new Promise(setImmediate);
  agent.push(routeOf('b', ready(app.target)));
  for (const { status, body } of await held) assert.deepEqual([status, body], expected);
});

test('20 kB of cookies reach an app of HTTP/2, and 20 kB of an answer’s fields reach the client', async (t) => {
  const app = await startHttp2App(t, (stream, headers) => {
    stream.respond({ ':status': 200, 'x-large': 'l'.repeat(20_000) });
    stream.end(String(headers['cookie']?.length));
  });
  const { port } = await startTestRouter(t, {
    routes: [routeOf('a', ready(app.target), { protocol: 'h2c' })],
    config,
  });
  const answer = await call(port, '/a', { headers: { Cookie: cookie }, maxHeaderSize: 65_536 });
  assert.deepEqual([answer.status, answer.body], [200, String(cookie.length)]);
  assert.equal(String(answer.headers['x-large']).length, 20_000);
});

test('a head over the limit gets 431', async (t) => {
  const { port } = await startTestRouter(t, { config });
  const answer = await call(port, '/a', { headers: { Cookie: 'c'.repeat(33_000) } });
  assert.equal(answer.status, 431);
});

test('a thousand clients with large heads that are never whole, and a thousand held calls with them, stay within the bound', async (t) => {
  const router = await startTestRouter(t, {
    routes: [
      routeOf('a', asleep),
      routeOf('b', ready(targetOf(await startUpstream(t, 'b-1', (_, res) => res.end('ok'))))),
    ],
    config,
  });
  const { port } = router;
  const head = `GET /a HTTP/1.1\r\nHost: h\r\nX-A: ${'a'.repeat(30_000)}`;
  const open = (text: string): Socket => openOne(t, port, text);
  let most = 0;
  for (let round = 0; round < 10; round += 1) {
    for (let each = 0; each < 100; each += 1) {
      open(head);
      open(`${head}\r\n\r\n`);
    }
    await new Promise(setImmediate);
    most = Math.max(most, await metric(router, 'holdfast_router_read_ahead_bytes'));
  }
  await untilMetric(router, 'holdfast_router_read_ahead_bytes', (bytes) => {
    most = Math.max(most, bytes);
    return bytes > read_ahead_max_bytes / 2;
  });
  assert.ok(most < 1.5 * read_ahead_max_bytes, `${most} bytes were read ahead`);
  // Calls with small heads are answered all the same.
  assert.equal((await call(port, '/b')).body, 'ok');
});

function openOne(t: TestContext, port: number, text: string): Socket {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  socket.resume();
  t.after(() => socket.destroy());
  socket.write(text);
  return socket;
}
