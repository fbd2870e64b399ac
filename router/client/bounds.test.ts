import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
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

function open(
  t: TestContext,
  port: number,
): { readonly socket: Socket; readonly text: () => string; closed(): boolean } {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  let text = '';
  let closed = false;
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
  socket.on('close', () => (closed = true));
  t.after(() => socket.destroy());
  return { socket, text: () => text, closed: () => closed };
}

test('a head that never becomes whole is answered 408 at its deadline, byte after byte or not', async (t) => {
  const clock = createShiftedClock();
  const router = await startTestRouter(t, { clock });
  const slow = open(t, router.port);
  slow.socket.write('GET / HT');
  await until(() => slow.socket.bytesWritten === 8, 'the first bytes');
  const idle = open(t, router.port);
  await untilMetric(router, 'holdfast_router_connections', (value) => value >= 2);
  await untilMetric(router, 'holdfast_router_read_ahead_bytes', (value) => value !== 0);
  clock.advance(20_000);
  const before = await metric(router, 'holdfast_router_read_ahead_bytes');
  slow.socket.write(`TP/1.1\r\nX-Long: ${'x'.repeat(4_000)}\r\nHost`);
  await untilMetric(router, 'holdfast_router_read_ahead_bytes', (value) => value > before);
  clock.advance(11_000);
  await until(() => slow.closed(), 'the end of the slow one');
  assert.match(slow.text(), /^HTTP\/1\.1 408 /);
  assert.equal(idle.closed(), false);
  assert.equal(await metric(router, 'holdfast_router_read_ahead_bytes'), 0);
  clock.advance(50_000);
  await until(() => idle.closed(), 'the end of the idle one');
  assert.equal(idle.text(), '');
});

test('a body that stalls is answered 408, one that keeps coming is not', async (t) => {
  const clock = createShiftedClock();
  let received = 0;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    req.on('data', (chunk: Buffer) => (received += chunk.length));
    req.on('end', () => res.end('ok'));
  });
  const router = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', ready(targetOf(app)))],
    config: { request_timeout_secs: 100 },
  });
  const head = 'POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 4\r\n\r\n';
  const stalls = open(t, router.port);
  const comes = open(t, router.port);
  stalls.socket.write(`${head}a`);
  comes.socket.write(`${head}a`);
  let sent = 2;
  for (const byte of 'bcd') {
    await until(() => received === sent, 'the app has what was sent');
    clock.advance(20_000);
    comes.socket.write(byte);
    sent += 1;
  }
  await until(() => received === sent, 'the app has it all of one');
  await until(() => {
    clock.advance(1_000);
    return stalls.closed() && comes.closed();
  }, 'both ends');
  assert.match(stalls.text(), /^HTTP\/1\.1 408 /);
  assert.match(comes.text(), /^HTTP\/1\.1 200 /);
});

test('a client that takes nothing of its answer is cut off, and with it the call at the app', async (t) => {
  const clock = createShiftedClock();
  let left = false;
  const app = await startUpstream(t, 'a-1', (_, res) => {
    res.on('close', () => (left = true));
    const chunk = Buffer.alloc(65_536);
    const more = (): void => {
      while (res.write(chunk));
    };
    res.on('drain', more);
    more();
  });
  const router = await startTestRouter(t, { clock, routes: [routeOf('a', ready(targetOf(app)))] });
  const socket = connect({ port: router.port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  socket.write('GET /a HTTP/1.1\r\nHost: h\r\n\r\n');
  await untilMetric(router, 'holdfast_router_buffered_bytes_max', (value) => value > 65_536);
  // What waits is bounded: the limit and one read more.
  assert.ok((await metric(router, 'holdfast_router_buffered_bytes_max')) < 300_000);
  await until(() => {
    clock.advance(10_000);
    return left;
  }, 'the end at the app');
});

test('an answer that the client begins to take late is whole', async (t) => {
  // More than the kernel takes.
  const text = 'x'.repeat(24_000_000);
  const small = 'y'.repeat(50_000);
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(req.url === '/small' ? small : text));
  const router = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const slow = connect({ port: router.port, host: '127.0.0.1' });
  slow.pause();
  slow.write('GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
  await untilMetric(router, 'holdfast_router_buffered_bytes_max', (value) => value > 0);
  // Others use the same buffers meanwhile.
  for (let i = 0; i < 20; i += 1) assert.equal((await call(router.port, '/a/small')).body, small);
  let answer = '';
  slow.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  slow.resume();
  await new Promise((resolve) => slow.on('close', resolve));
  const body = answer.slice(answer.indexOf('\r\n\r\n') + 4);
  assert.ok(body === text, 'what came is what was sent');
});

test('a client that leaves while its call waits is seen, also with a body of some size unread', async (t) => {
  const router = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  for (const bytes of [0, 1_000, 15_000]) {
    const { socket } = open(t, router.port);
    socket.write(`POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(bytes)}`);
    await until(() => router.router.held === 1, 'a held call');
    socket.end();
    await until(() => router.router.held === 0, 'the place');
  }
});

test('a held call with a large body is not read beyond its bound, and goes on when the app runs', async (t) => {
  const router = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const total = 8 * 1024 * 1024;
  const answered = call(router.port, '/a', { method: 'POST', body: 'x'.repeat(total) });
  await until(() => router.router.held === 1, 'a held call');
  await untilMetric(router, 'holdfast_router_read_ahead_bytes', (bytes) => bytes >= 16_384);
  const before = await metric(router, 'holdfast_router_read_ahead_bytes');
  assert.ok(before <= 16_384 + 65_536, `${before} bytes were read`);
  const app = await startUpstream(t, 'a-1', (req, res) => {
    let count = 0;
    req.on('data', (chunk: Buffer) => (count += chunk.length));
    req.on('end', () => res.end(String(count)));
  });
  router.agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal((await answered).body, String(total));
  assert.equal(await metric(router, 'holdfast_router_read_ahead_bytes'), 0);
});

test('when too much is read ahead, calls that would wait are refused with 503', async (t) => {
  const router = await startTestRouter(t, {
    routes: [routeOf('a', asleep)],
    config: { read_ahead_max_bytes: 65_536 },
  });
  const body = `POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(15_000)}`;
  for (let i = 0; i < 5; i += 1) open(t, router.port).socket.write(body);
  await until(() => router.router.held >= 4, 'held calls');
  await untilMetric(router, 'holdfast_router_read_ahead_bytes', (value) => value >= 60_000);
  const over = open(t, router.port);
  over.socket.write(body);
  await until(() => over.text() !== '', 'an answer');
  assert.match(over.text(), /^HTTP\/1\.1 503 /);
  assert.match(over.text(), /"code":"router_overloaded"/);
});

test('no more sockets than the bound lead to one target, and the other calls wait their turn', async (t) => {
  let most = 0;
  const waiting: ServerResponse[] = [];
  const app = await startUpstream(t, 'a-1', (_, res) => {
    waiting.push(res);
    most = Math.max(most, waiting.length);
    // When one more would have come, if there were one.
    if (waiting.length === 3) setImmediate(() => setImmediate(() => waiting.splice(0).forEach((one) => one.end('ok'))));
  });
  const router = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app)))],
    config: { max_upstream_sockets: 3, max_idle_upstream_sockets: 1 },
  });
  const answers = await Promise.all(Array.from({ length: 30 }, () => call(router.port, '/a')));
  assert.ok(answers.every(({ body }) => body === 'ok'));
  assert.equal(most, 3);
  assert.equal(await metric(router, 'holdfast_router_upstream_sockets_idle'), 1);
});

test('bodies that are not whole have half of the sockets to a target at most, so that other calls get through', async (t) => {
  // Broke: slow bodies took all of them, and every other call of the app waited for as long as they did.
  let begun = 0;
  let gone = 0;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    begun += 1;
    req.on('error', () => (gone += 1));
    req.resume().on('end', () => res.end('ok'));
  });
  const router = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app)))],
    config: { max_upstream_sockets: 8 },
  });
  const slow = Array.from({ length: 20 }, () => open(t, router.port));
  for (const { socket } of slow) socket.write('POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nx');
  await until(
    () =>
      slow.filter(({ text }) => /^HTTP\/1\.1 503 [^]*Retry-After: 2[^]*"router_overloaded"/.test(text())).length === 16,
    '16 refusals',
  );
  for (let count = 0; count < 10; count += 1) {
    assert.equal((await call(router.port, '/a')).body, 'ok');
    assert.equal((await call(router.port, '/a', { method: 'POST', body: 'x' })).body, 'ok');
  }
  // One that is whole after all makes room, and so does one whose client has gone.
  const [first, second] = slow.filter(({ text }) => text() === '');
  first?.socket.write('123456789');
  await until(() => first?.text().endsWith('ok') === true, 'its answer');
  second?.socket.destroy();
  await until(() => gone === 1, 'its end at the app');
  for (let count = 0; count < 2; count += 1) {
    const before = begun;
    const next = open(t, router.port);
    next.socket.write('POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nx');
    await until(() => begun > before, 'the next one at the app');
    assert.equal(next.text(), '');
  }
});

test('an idle connection to an app is closed at its age, sooner where the app says so', async (t) => {
  const clock = createShiftedClock();
  const says = (fields: string): string => `HTTP/1.1 200 OK\r\n${fields}Content-Length: 0\r\n\r\n`;
  for (const [fields, connections] of [
    ['', 1],
    ['Keep-Alive: timeout=2\r\n', 2],
    ['Connection: close\r\n', 2],
  ] as const) {
    const app = await startRawApp(t, { answer: says(fields) });
    const router = await startTestRouter(t, { clock, routes: [routeOf('a', ready(app.target))] });
    await call(router.port, '/a');
    clock.advance(2_000);
    await call(router.port, '/a');
    assert.equal(app.connections(), connections, fields);
    clock.advance(4_500);
    await untilMetric(router, 'holdfast_router_upstream_sockets', (value) => value === 0);
    await router.router.close();
  }
});

test('10,000 requests that come in one piece are answered in their order without deep calls', async (t) => {
  const router = await startTestRouter(t, {});
  const one = 'GET /none HTTP/1.1\r\nHost: h\r\n\r\n';
  const last = 'GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
  const answer = await exchangeBytes(router.port, one.repeat(9_999) + last);
  assert.equal(answer.match(/HTTP\/1\.1 404/g)?.length, 10_000);
});

test('readers that take nothing: what waits for all is bounded, and everybody else goes on', async (t) => {
  const chunk = Buffer.alloc(262_144, 'x');
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url === '/small') return void res.end('ok');
    res.on('error', () => undefined);
    const more = (): void => {
      while (!res.destroyed && res.write(chunk));
    };
    res.on('drain', more);
    more();
  });
  const limit = 1_048_576;
  const clock = createShiftedClock();
  const router = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', ready(targetOf(app)))],
    config: { stream_buffers_max_bytes: limit },
  });
  // By themselves they could have three times as much; together each has ever less.
  const slow = Array.from({ length: 50 }, () => {
    const socket = connect({ port: router.port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    t.after(() => socket.destroy());
    socket.write('GET /a/large HTTP/1.1\r\nHost: h\r\n\r\n');
    return socket.pause();
  });
  let most = 0;
  const look = (waiting: number): number => (most = Math.max(most, waiting));
  // The kernel takes megabytes of each first.
  await untilMetric(router, 'holdfast_router_buffered_bytes', (waiting) => look(waiting) > 0.75 * limit, 60_000);
  // Those who take their answers do not suffer by it.
  for (let i = 0; i < 50; i += 1) {
    assert.equal((await call(router.port, '/a/small')).status, 200);
    look(await metric(router, 'holdfast_router_buffered_bytes'));
  }
  assert.ok(most < 1.5 * limit, `${most} bytes waited`);
  // They go on taking nothing: some are cut off, and there is room again.
  clock.advance(11_000);
  await untilMetric(router, 'holdfast_router_streams_cut_total', (value) => value !== 0);
  await untilMetric(router, 'holdfast_router_buffered_bytes', (waiting) => waiting <= limit / 2);
  assert.equal((await call(router.port, '/a/small')).status, 200);
  for (const socket of slow) socket.destroy();
  await untilMetric(router, 'holdfast_router_buffered_bytes', (value) => value === 0);
  assert.equal((await call(router.port, '/a/small')).body, 'ok');
});

test('large heads of calls that wait or are answered are counted, and no more are taken than there is room for', async (t) => {
  const router = await startTestRouter(t, {
    routes: [routeOf('a', asleep)],
    config: { read_ahead_max_bytes: 65_536 },
  });
  const head = `GET /a HTTP/1.1\r\nHost: h\r\nX-Large: ${'x'.repeat(10_000)}\r\n\r\n`;
  const refused: ReturnType<typeof open>[] = [];
  for (let i = 0; i < 12; i += 1) {
    const one = open(t, router.port);
    one.socket.write(head);
    await until(() => one.text() !== '' || router.router.held === i + 1 - refused.length, 'a held or refused call');
    if (one.text() !== '') refused.push(one);
  }
  assert.ok(refused.length >= 4 && refused.length <= 6, `${refused.length} were refused`);
  for (const one of refused) assert.match(one.text(), /^HTTP\/1\.1 503 /);
  // A small one still finds room to wait in the hold's own bounds only while little is read ahead.
  assert.ok((await metric(router, 'holdfast_router_read_ahead_bytes')) <= 65_536 + 10_240);
  router.agent.remove('a');
  await until(() => router.router.held === 0, 'the end of all');
  await untilMetric(router, 'holdfast_router_read_ahead_bytes', (value) => value === 0);
});
