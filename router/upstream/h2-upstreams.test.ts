import assert from 'node:assert/strict';
import { constants, type ServerHttp2Stream } from 'node:http2';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';
import { exchangeBytes } from '../testing/raw-bytes.ts';
import { answerOf, callBy, openSession, startHttp2App } from '../testing/h2.ts';

/** Answers with the request body, and with a trailer that repeats the one of the request. */
function echo(stream: ServerHttp2Stream, headers: Readonly<Record<string, string | undefined>>): void {
  let trailers = '';
  stream.on('trailers', (given) => (trailers = String(given['x-mine'])));
  stream.respond({ ':status': 200, 'x-path': headers[':path'] }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': `got:${trailers}`, 'grpc-status': '0' }));
  stream.on('data', (chunk) => stream.write(chunk));
  stream.on('end', () => stream.end());
}

const h2c = { protocol: 'h2c' } as const;

test('a client of HTTP/1.1 is answered by an app of HTTP/2: chunks, trailers, HEAD, lengths', async (t) => {
  const seen: Readonly<Record<string, string | undefined>>[] = [];
  const app = await startHttp2App(t, (stream, headers) => {
    seen.push(headers);
    if (headers[':path'] === '/length') {
      stream.respond({ ':status': 200, 'content-length': 2 });
      stream.end(headers[':method'] === 'HEAD' ? undefined : 'ok');
    } else if (headers[':path'] === '/none') stream.respond({ ':status': 204 }, { endStream: true });
    else echo(stream, headers);
  });
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const posted = await call(port, '/a/x?y', {
    method: 'POST',
    body: 'hello',
    headers: { Cookie: 'a=1', TE: 'trailers' },
  });
  assert.deepEqual([posted.status, posted.body, posted.complete], [200, 'hello', true]);
  assert.equal(posted.headers['x-path'], '/x?y');
  assert.deepEqual({ ...posted.trailers }, { 'x-sum': 'got:', 'grpc-status': '0' });
  const request = seen[0] ?? {};
  assert.equal(request[':authority'], `127.0.0.1:${port}`);
  assert.equal(request['x-forwarded-for'], '127.0.0.1');
  assert.equal(request['x-forwarded-prefix'], '/a');
  assert.equal(request['te'], 'trailers');
  assert.equal(request['connection'], undefined);
  const length = await call(port, '/a/length');
  assert.deepEqual([length.headers['content-length'], length.body], ['2', 'ok']);
  const head = await call(port, '/a/length', { method: 'HEAD' });
  assert.deepEqual([head.status, head.headers['content-length'], head.body, head.complete], [200, '2', '', true]);
  assert.equal((await call(port, '/a/none')).status, 204);
  const chunked =
    'POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: x-mine\r\n\r\n' +
    '3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Mine: yes\r\n\r\n';
  const raw = await exchangeBytes(port, chunked);
  assert.match(raw, /abc[^]*def/);
  assert.match(raw, /0\r\nx-sum: got:yes\r\n/);
  const old = await exchangeBytes(port, 'GET /a HTTP/1.0\r\nHost: h\r\n\r\n');
  assert.match(old, /^HTTP\/1\.1 200 /);
  assert.equal(app.sessions.size, 1);
  assert.deepEqual(await agent.release('a', [app.target.id], 5_000), { inFlight: 0, upgraded: 0 });
});

test('a client of HTTP/2 and an app of it stream both ways at once, with trailers', async (t) => {
  const app = await startHttp2App(t, echo);
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const stream = openSession(t, port).request(
    { ':path': '/a', ':method': 'POST' },
    { endStream: false, waitForTrailers: true },
  );
  stream.on('wantTrailers', () => stream.sendTrailers({ 'x-mine': 'yes' }));
  const answer = answerOf(stream);
  const words: string[] = [];
  stream.on('data', (chunk: Buffer) => words.push(chunk.toString()));
  for (const word of ['one', 'two', 'three']) {
    const before = words.length;
    stream.write(word);
    await until(() => words.length > before, `the echo of ${word}`);
  }
  stream.end();
  const { status, body, trailers, code } = await answer;
  assert.deepEqual([status, body, trailers['x-sum'], code], [200, 'onetwothree', 'got:yes', 0]);
});

test('an answer that is a head alone stays one, as gRPC says errors', async (t) => {
  const app = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true });
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const stream = openSession(t, port).request({ ':path': '/a', ':method': 'POST' }, { endStream: false });
  let ended = false;
  stream.on('response', (_fields, flags) => (ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0));
  const answer = answerOf(stream);
  const { fields } = await answer;
  assert.equal(fields['grpc-status'], '5');
  assert.equal(ended, true);
});

test('calls on a cold app share one connection when it wakes, up to what the app takes at once', async (t) => {
  let most = 0;
  let open = 0;
  const app = await startHttp2App(
    t,
    (stream) => {
      most = Math.max(most, (open += 1));
      stream.on('close', () => (open -= 1));
      setImmediate(() => !stream.destroyed && (stream.respond({ ':status': 200 }), stream.end('ok')));
    },
    { settings: { maxConcurrentStreams: 10 } },
  );
  const { port, agent, router, registry } = await startTestRouter(t, { routes: [routeOf('a', asleep, h2c)] });
  const calls = Array.from({ length: 200 }, () => call(port, '/a'));
  await until(() => router.held === 200, 'held calls');
  agent.push(routeOf('a', ready(app.target), h2c));
  const answers = await Promise.all(calls);
  assert.ok(answers.every(({ status, body }) => status === 200 && body === 'ok'));
  assert.ok(app.sessions.size <= 20, `${app.sessions.size} connections`);
  assert.match(await registry.metrics(), new RegExp(`^holdfast_router_upstream_sockets ${app.sessions.size}$`, 'm'));
});

test('a client that does not read slows the app down, and only that stream', async (t) => {
  const total = 32 * 1024 * 1024;
  let sent = 0;
  const app = await startHttp2App(t, (stream, headers) => {
    if (headers[':path'] !== '/much') return echo(stream, headers);
    stream.respond({ ':status': 200 });
    const more = (): void => {
      while (sent < total) {
        sent += 65_536;
        if (!stream.write(Buffer.alloc(65_536))) return;
      }
      stream.end();
    };
    stream.on('drain', more);
    more();
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const session = openSession(t, port);
  const slow = session.request({ ':path': '/a/much' });
  slow.pause();
  let read = 0;
  slow.on('data', (chunk: Buffer) => (read += chunk.length));
  let looks = 0;
  let before = 0;
  await until(() => {
    looks = sent === before && sent > 0 ? looks + 1 : 0;
    before = sent;
    return looks > 50;
  }, 'the app waits');
  assert.ok(sent < total / 4, `${sent} bytes are in buffers`);
  assert.equal((await callBy(session, '/a', { ':method': 'POST' }, 'other')).body, 'other');
  slow.resume();
  await new Promise((resolve) => slow.once('close', resolve));
  assert.equal(read, total);
});

test('a stream that the app refuses is sent again, with its body', async (t) => {
  let refusals = 0;
  const app = await startHttp2App(t, (stream, headers) => {
    if (refusals < 1) {
      refusals += 1;
      stream.once('data', () => stream.close(constants.NGHTTP2_REFUSED_STREAM));
    } else echo(stream, headers);
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const answer = await callBy(openSession(t, port), '/a', { ':method': 'POST' }, 'kept');
  assert.deepEqual([answer.status, answer.body, refusals], [200, 'kept', 1]);
  // A body from an HTTP/1.1 client cannot be sent again.
  refusals = 0;
  const plain = await call(port, '/a', { method: 'POST', body: 'gone' });
  assert.deepEqual([plain.status, JSON.parse(plain.body).code], [502, 'upstream_reset']);
});

test('an app that goes away serves what it has begun with, and the rest goes over a new connection', async (t) => {
  let finish: () => void = () => undefined;
  const app = await startHttp2App(t, (stream, headers) => {
    stream.respond({ ':status': 200 });
    if (headers[':path'] !== '/slow') stream.end('ok');
    else {
      stream.write('begun');
      finish = () => stream.end(' done');
    }
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const session = openSession(t, port);
  const slow = session.request({ ':path': '/a/slow' });
  const answer = answerOf(slow);
  await new Promise((resolve) => slow.once('response', resolve));
  const [first] = app.sessions;
  first?.close();
  await until(() => first?.closed === true, 'its GOAWAY');
  const others = await Promise.all(Array.from({ length: 20 }, () => callBy(session, '/a', { ':method': 'POST' }, 'x')));
  assert.ok(others.every(({ status }) => status === 200));
  finish();
  assert.equal((await answer).body, 'begun done');
});

test('what is lost with its connection is an error, and never the end of an answer', async (t) => {
  const app = await startHttp2App(t, (stream, headers) => {
    if (headers[':path'] === '/head') {
      stream.respond({ ':status': 200 });
      stream.write('half');
    }
    setTimeout(() => stream.session?.destroy(), 20);
  });
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const session = openSession(t, port);
  const broken = await callBy(session, '/a/head');
  assert.deepEqual([broken.status, broken.code], [200, constants.NGHTTP2_INTERNAL_ERROR]);
  const plain = await call(port, '/a/head');
  assert.equal(plain.complete, false);
  const lost = await callBy(session, '/a/none', { ':method': 'POST' }, 'x');
  assert.deepEqual([lost.status, JSON.parse(lost.body).code], [502, 'upstream_reset']);
  assert.deepEqual(await agent.release('a', [app.target.id], 5_000), { inFlight: 0, upgraded: 0 });
});

test('an app that speaks only HTTP/1.1 is a 502, and calls wait for one that refuses connections', async (t) => {
  const plain = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const { port, router, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(plain)), h2c)] });
  const answer = await call(port, '/a');
  assert.deepEqual([answer.status, JSON.parse(answer.body).code], [502, 'upstream_protocol']);
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const closed = { id: 'closed', host: '127.0.0.1', port: (server.address() as AddressInfo).port };
  await new Promise((resolve) => server.close(resolve));
  agent.push(routeOf('a', ready(closed), h2c));
  const held = call(port, '/a');
  await until(() => router.held === 1, 'a held call');
  const app = await startHttp2App(t, echo);
  agent.push(routeOf('a', ready(app.target), h2c));
  assert.equal((await held).status, 200);
});

test('an app that does not begin its answer is given up, and its stream is cancelled', async (t) => {
  const clock = createShiftedClock();
  let code = -1;
  let arrived = false;
  const app = await startHttp2App(t, (stream) => {
    arrived = true;
    stream.on('close', () => (code = stream.rstCode ?? -1));
  });
  const { port } = await startTestRouter(t, { clock, routes: [routeOf('a', ready(app.target), h2c)] });
  const answer = call(port, '/a');
  await until(() => arrived, 'the call at the app');
  clock.advance(31_000);
  assert.equal(JSON.parse((await answer).body).code, 'upstream_timeout');
  await until(() => code === constants.NGHTTP2_CANCEL, 'the reset');
});

test('a client that leaves cancels its stream at the app, and connections go with their target', async (t) => {
  let closed = 0;
  let arrived = 0;
  const app = await startHttp2App(t, (stream) => {
    arrived += 1;
    stream.on('close', () => (closed += 1));
  });
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const stream = openSession(t, port).request({ ':path': '/a' });
  stream.on('error', () => undefined);
  await until(() => arrived === 1, 'the call at the app');
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => closed === 1, 'its end');
  assert.equal(app.sessions.size, 1);
  agent.push(routeOf('a', asleep, h2c));
  await until(() => app.sessions.size === 0, 'the end of the connection');
});

test('fields of the upgrade to h2c do not reach an app that speaks HTTP/2, and trailers of a connection neither', async (t) => {
  const seen: Readonly<Record<string, string | undefined>>[] = [];
  const app = await startHttp2App(t, (stream, headers) => {
    seen.push(headers);
    echo(stream, headers);
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), h2c)] });
  const answer = await call(port, '/a', { headers: { 'HTTP2-Settings': 'AAM', TE: 'Trailers, gzip', Upgrade: 'x' } });
  assert.equal(answer.status, 200);
  assert.deepEqual(
    [seen[0]?.['http2-settings'], seen[0]?.['te'], seen[0]?.['upgrade']],
    [undefined, 'trailers', undefined],
  );
  const chunked =
    'POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n' +
    '1\r\na\r\n0\r\nHTTP2-Settings: x\r\nX-Mine: yes\r\n\r\n';
  assert.match(await exchangeBytes(port, chunked), /x-sum: got:yes/);
});
