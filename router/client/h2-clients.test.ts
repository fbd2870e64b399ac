import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { constants } from 'node:http2';
import { test } from 'node:test';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';
import { answerOf, callBy, openSession } from '../testing/h2.ts';

test('a client with prior knowledge is answered on the port of HTTP/1.1, and both at once', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => {
    res.writeHead(200, { 'X-Many': ['1', '2'], 'Keep-Alive': 'timeout=5', 'X-Latin': 'caf\u00e9' });
    res.end(`${req.method} ${req.url}`);
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const session = openSession(t, port);
  const answers = await Promise.all([callBy(session, '/a/x?y'), callBy(session, '/a/z'), call(port, '/a/1')]);
  assert.deepEqual(
    answers.map(({ status, body }) => [status, body]),
    [
      [200, 'GET /x?y'],
      [200, 'GET /z'],
      [200, 'GET /1'],
    ],
  );
  const { fields } = answers[0];
  assert.equal(fields['x-many'], '1, 2');
  assert.equal(fields['x-latin'], 'caf\u00e9');
  assert.equal(fields['keep-alive'], undefined);
  assert.equal(fields['connection'], undefined);
  assert.ok(fields['date']);
  const head = await callBy(session, '/a/h', { ':method': 'HEAD' });
  assert.deepEqual([head.status, head.body, head.code], [200, '', 0]);
});

test('a preface that comes byte by byte is one too', async (t) => {
  const { port } = await startTestRouter(t);
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  t.after(() => socket.destroy());
  let got = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => (got = Buffer.concat([got, chunk])));
  const bytes = Buffer.concat([
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]),
  ]);
  for (const byte of bytes) await new Promise((resolve) => socket.write(Buffer.from([byte]), resolve));
  // Its settings, and that it has seen ours.
  await until(() => got.length > 9 && got.includes(Buffer.from([0, 0, 0, 4, 1])), 'settings');
});

test('the app gets the request as by HTTP/1.1: cookies in one, forwarded fields, a length or chunks', async (t) => {
  const seen: string[][] = [];
  const app = await startUpstream(t, 'a-1', (req, res) => {
    seen.push(req.rawHeaders);
    req.resume().on('end', () => res.end('ok'));
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const session = openSession(t, port);
  const get = await callBy(session, '/a', { cookie: ['a=1', 'b=2'], te: 'trailers', 'x-forwarded-for': '9.9.9.9' });
  assert.equal(get.body, 'ok');
  await callBy(session, '/a', { ':method': 'POST' }, 'body');
  await callBy(session, '/a', { ':method': 'POST', 'content-length': 4 }, 'body');
  await callBy(session, '/a', { ':method': 'POST' });
  const value = (index: number, name: string): string | undefined => {
    const raw = seen[index] ?? [];
    const at = raw.findIndex((field, place) => place % 2 === 0 && field.toLowerCase() === name);
    return at < 0 ? undefined : raw[at + 1];
  };
  assert.equal(value(0, 'cookie'), 'a=1; b=2');
  assert.equal(value(0, 'host'), `127.0.0.1:${port}`);
  assert.equal(value(0, 'te'), 'trailers');
  assert.equal(value(0, 'x-forwarded-for'), '127.0.0.1');
  assert.equal(value(0, 'x-forwarded-prefix'), '/a');
  assert.match(value(0, 'x-request-id') ?? '', /^[0-9a-f-]{36}$/);
  assert.equal(value(1, 'transfer-encoding'), 'chunked');
  assert.equal(value(2, 'content-length'), '4');
  assert.equal(value(3, 'content-length'), '0');
});

test('bodies go both ways whole, with trailers, early hints and 100 (Continue)', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => {
    res.writeEarlyHints({ link: ['</a>; rel=preload', '</b>; rel=preload'] });
    const chunks: Buffer[] = [];
    req.on('data', (chunk: Buffer) => chunks.push(chunk));
    req.on('end', () => {
      res.writeHead(200, { Trailer: 'x-sum' });
      res.write(Buffer.concat(chunks));
      res.addTrailers({ 'x-sum': `got ${req.trailers['x-mine'] as string}` });
      res.end();
    });
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const session = openSession(t, port);
  const body = Buffer.alloc(3_000_000, 'abcdefghij');
  const stream = session.request(
    { ':path': '/a', ':method': 'POST', expect: '100-continue' },
    { endStream: false, waitForTrailers: true },
  );
  const answer = answerOf(stream);
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-mine': 'yes' }));
  await new Promise((resolve) => stream.once('continue', resolve));
  stream.end(body);
  const { status, interim, trailers, body: back, code } = await answer;
  assert.deepEqual([status, code, trailers['x-sum']], [200, 0, 'got yes']);
  assert.deepEqual(interim, [100, 103]);
  assert.equal(back, body.toString());
});

test('a call is held until its app runs, and one that is reset frees its place at once', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => void req.pipe(res));
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const session = openSession(t, port);
  const kept = callBy(session, '/a', { ':method': 'POST' }, 'hello');
  const left = session.request({ ':path': '/a', ':method': 'POST' }, { endStream: false });
  left.on('error', () => undefined);
  left.write('begun');
  await until(() => router.held === 2, 'held calls');
  left.close(constants.NGHTTP2_CANCEL);
  await until(() => router.held === 1, 'the place');
  agent.push(routeOf('a', ready(targetOf(app))));
  const answer = await kept;
  assert.equal(answer.body, 'hello');
  assert.match(String(answer.fields['server-timing']), /^hold;dur=/);
});

test('a stream that is reset ends its call at the app, and the app that breaks off resets the stream', async (t) => {
  let closed = false;
  let arrived = false;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    arrived = true;
    if (req.url === '/break') {
      res.write('half');
      setImmediate(() => res.destroy());
    } else if (req.url === '/reset') res.destroy();
    else res.on('close', () => (closed = true));
  });
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const session = openSession(t, port);
  const stream = session.request({ ':path': '/a/wait' });
  stream.on('error', () => undefined);
  await until(() => arrived, 'the call at the app');
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => closed, 'its end');
  assert.deepEqual(await agent.release('a', ['a-1'], 5_000), { inFlight: 0, upgraded: 0 });
  const broken = await callBy(session, '/a/break');
  assert.equal(broken.code, constants.NGHTTP2_INTERNAL_ERROR);
  const reset = await callBy(session, '/a/reset');
  assert.deepEqual([reset.status, JSON.parse(reset.body).code], [502, 'upstream_reset']);
});

test('errors are problem+json, and to gRPC callers a status of gRPC', async (t) => {
  const { port } = await startTestRouter(t);
  const session = openSession(t, port);
  const none = await callBy(session, '/none');
  assert.deepEqual([none.status, none.fields['content-type']], [404, 'application/problem+json']);
  assert.equal(JSON.parse(none.body).code, 'route_not_found');
  const dots = await callBy(session, '/none/../x');
  assert.deepEqual([dots.status, JSON.parse(dots.body).code], [400, 'request_invalid']);
  const long = await callBy(session, '/none', { 'x-long': 'x'.repeat(17_000) });
  assert.equal(long.status, 431);
  const grpc = await callBy(session, '/none', { ':method': 'POST', 'content-type': 'application/grpc+proto' }, 'x');
  assert.deepEqual([grpc.status, grpc.fields['grpc-status'], grpc.body], [200, '12', '']);
  assert.match(String(grpc.fields['grpc-message']), /^route_not_found: /);
});

test('an answer before the end of the request is whole, and the rest of the request is not wanted', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => res.writeHead(413).end('no'));
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const session = openSession(t, port);
  const stream = session.request({ ':path': '/a', ':method': 'POST' }, { endStream: false });
  const answer = answerOf(stream);
  stream.write('begun');
  const { status, body, code } = await answer;
  assert.deepEqual([status, body, code], [413, 'no', 0]);
  assert.equal((await callBy(session, '/a')).status, 413);
});

/** Whether a count has begun and stays as it is for many looks. */
function steady(count: () => number): () => boolean {
  let last = 0;
  let looks = 0;
  return () => {
    const now = count();
    looks = now === last && now > 0 ? looks + 1 : 0;
    last = now;
    return looks >= 50;
  };
}

test('a client that does not read slows the app down, and an app that does not read the client', async (t) => {
  let sent = 0;
  const total = 32 * 1024 * 1024;
  let startReading: (() => void) | undefined;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.method === 'POST') {
      let got = 0;
      req.on('data', (chunk: Buffer) => (got += chunk.length));
      req.pause();
      startReading = () => req.resume();
      req.on('end', () => res.end(String(got)));
      return;
    }
    const chunk = Buffer.alloc(65_536);
    const more = (): void => {
      while (sent < total) {
        sent += chunk.length;
        if (!res.write(chunk)) return;
      }
      res.end();
    };
    res.on('drain', more);
    more();
  });
  const { port, registry } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const session = openSession(t, port);
  const down = session.request({ ':path': '/a' });
  down.pause();
  await until(
    steady(() => sent),
    'the app waits',
  );
  assert.ok(sent < total / 2, `${sent} bytes are in buffers`);
  const buffered = /^holdfast_router_buffered_bytes (\d+)$/m.exec(await registry.metrics())?.[1];
  assert.ok(Number(buffered) > 0 && Number(buffered) < 400_000, `${buffered} bytes wait in the router`);
  let read = 0;
  down.on('data', (chunk: Buffer) => (read += chunk.length));
  down.resume();
  await new Promise((resolve) => down.once('close', resolve));
  assert.equal(read, total);

  const up = session.request({ ':path': '/a', ':method': 'POST' }, { endStream: false });
  const answer = answerOf(up);
  let written = 0;
  const fill = (): void => {
    while (written < total) {
      written += 65_536;
      if (!up.write(Buffer.alloc(65_536))) return;
    }
    up.end();
  };
  up.on('drain', fill);
  fill();
  await until(() => startReading !== undefined, 'the call at the app');
  await until(
    steady(() => written),
    'the client waits',
  );
  assert.ok(written < total / 2, `${written} bytes are in buffers`);
  startReading?.();
  assert.equal((await answer).body, String(total));
});

test('a drain lets streams end, takes what the client sent before it knew, and closes the connection', async (t) => {
  let finish: () => void = () => undefined;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url === '/slow') finish = () => res.end('slow');
    else res.end('ok');
  });
  const { agent, router, port } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app))), routeOf('b', asleep)],
  });
  await until(() => router.ready().ok, 'ready');
  const session = openSession(t, port);
  const idle = openSession(t, port);
  await Promise.all([callBy(session, '/a'), callBy(idle, '/a')]);
  const slow = callBy(session, '/a/slow');
  const held = callBy(session, '/b');
  await until(() => router.held === 1, 'a held call');
  const gone = new Promise((resolve) => idle.once('close', resolve));
  const goaway = new Promise((resolve) => session.once('goaway', resolve));
  let drained = false;
  const drain = router.drain().then(() => (drained = true));
  await goaway;
  await gone;
  assert.equal(drained, false);
  finish();
  assert.equal((await slow).body, 'slow');
  agent.push(routeOf('b', ready(targetOf(app))));
  assert.equal((await held).body, 'ok');
  await drain;
});

test('an idle connection is closed with a GOAWAY, one with a call is not', async (t) => {
  const clock = createShiftedClock();
  const { port, router, registry } = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', asleep, { holdTimeoutMs: 1_000_000 })],
  });
  const idle = openSession(t, port);
  const busy = openSession(t, port);
  await callBy(idle, '/none');
  const held = callBy(busy, '/a');
  await until(() => router.held === 1, 'a held call');
  assert.match(await registry.metrics(), /^holdfast_router_http2_streams 1$/m);
  let code = -1;
  idle.once('goaway', (given: number) => (code = given));
  await until(() => {
    clock.advance(80_000);
    return idle.destroyed;
  }, 'its end');
  assert.equal(code, 0);
  assert.equal(busy.destroyed, false);
  assert.equal(router.held, 1);
  busy.destroy();
  await held;
  await until(() => router.held === 0, 'the place');
});

test('a body that does not come, and an answer that is not taken, end their streams in time', async (t) => {
  const clock = createShiftedClock();
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.method === 'POST') req.resume();
    else res.end(Buffer.alloc(1_000_000));
  });
  const { port } = await startTestRouter(t, { clock, routes: [routeOf('a', ready(targetOf(app)))] });
  const session = openSession(t, port);
  const up = session.request({ ':path': '/a', ':method': 'POST' }, { endStream: false });
  const late = answerOf(up);
  up.write('begun');
  let status = 0;
  up.once('response', (fields) => (status = fields[':status'] ?? 0));
  await until(() => {
    clock.advance(31_000);
    return status !== 0;
  }, 'the refusal');
  assert.equal((await late).status, 408);
  const down = openSession(t, port).request({ ':path': '/a' });
  down.on('error', () => undefined);
  let begun = false;
  down.once('response', () => (begun = true));
  down.pause();
  await until(() => begun, 'an answer');
  let closed = false;
  down.once('aborted', () => (closed = true));
  await until(() => {
    clock.advance(1_000);
    return closed || down.closed;
  }, 'the reset');
  assert.equal(down.rstCode, constants.NGHTTP2_CANCEL);
});

test('with HTTP/2 switched off, its preface is no valid request', async (t) => {
  const { port } = await startTestRouter(t, { config: { http2: false } });
  const session = openSession(t, port);
  await new Promise((resolve) => session.once('close', resolve));
});
