import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Target } from '../../shared/protocol/routes.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';

/** A server of bytes: what it gets is given to the test, what it answers the test says. */
async function startRawUpstream(t: TestContext, id: string, onSocket: (socket: Socket) => void): Promise<Target> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    onSocket(socket);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        for (const socket of sockets) socket.destroy();
      }),
  );
  return { id, host: '127.0.0.1', port: (server.address() as AddressInfo).port };
}

test('the answer comes as the app sent it: status, repeated fields, order, case, body, trailers', async (t) => {
  const target = await startRawUpstream(t, 'a-1', (socket) => {
    socket.once('data', () =>
      socket.end(
        'HTTP/1.1 201 Made It\r\nX-b: 1\r\nSet-Cookie: a=1\r\nx-A: 2\r\nSet-Cookie: b=2\r\nConnection: close, X-Gone\r\nX-Gone: x\r\n' +
          'Date: then\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n',
      ),
    );
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(target))] });
  const answer = await call(port, '/a/', { headers: { TE: 'trailers' } });
  assert.equal(answer.status, 201);
  assert.equal(answer.body, 'hello');
  assert.deepEqual(answer.trailers, { 'x-sum': '5' });
  const { rawHeaders } = answer;
  const fields = Array.from({ length: 6 }, (_, i) => `${rawHeaders[i * 2]}: ${rawHeaders[i * 2 + 1]}`);
  assert.deepEqual(fields, ['X-b: 1', 'Set-Cookie: a=1', 'x-A: 2', 'Set-Cookie: b=2', 'Date: then', 'Trailer: X-Sum']);
  assert.ok(!rawHeaders.includes('X-Gone'));
});

test('trailer fields of a request that announces them reach the app', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => {
    let body = '';
    req.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    req.on('end', () => res.end(`${body} ${JSON.stringify(req.trailers)}`));
  });
  const { port, router, agent } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  const answered = new Promise<string>((resolve) => {
    const req = request({
      host: '127.0.0.1',
      port,
      path: '/a',
      method: 'POST',
      agent: false,
      headers: { Trailer: 'X-Sum' },
    });
    req.on('response', (res) => res.setEncoding('utf8').on('data', resolve));
    req.write('one');
    req.addTrailers({ 'X-Sum': '3' });
    req.end();
  });
  await until(() => router.held === 1, 'a held call');
  agent.push(routeOf('a', ready(targetOf(app))));
  assert.equal(await answered, 'one {"x-sum":"3"}');
});

test('HEAD, 204 and 304 end without a body and leave the connection usable', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url === '/head') res.writeHead(200, { 'Content-Length': 1_000 }).end();
    else if (req.url === '/204') res.writeHead(204).end();
    else if (req.url === '/304') res.writeHead(304, { ETag: '"x"' }).end();
    else res.end('body');
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const head = await call(port, '/a/head', { method: 'HEAD', agent });
  assert.deepEqual([head.status, head.headers['content-length'], head.body], [200, '1000', '']);
  assert.equal((await call(port, '/a/204', { agent })).status, 204);
  assert.equal((await call(port, '/a/304', { agent })).headers.etag, '"x"');
  assert.equal((await call(port, '/a/x', { agent })).body, 'body');
});

test('103 Early Hints are passed on before the answer', async (t) => {
  const app = await startUpstream(t, 'a-1', (_, res) => {
    res.writeEarlyHints({ link: '</style.css>; rel=preload' });
    res.end('ok');
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const hints = await new Promise<unknown[]>((resolve) => {
    const seen: unknown[] = [];
    const req = request({ host: '127.0.0.1', port, path: '/a', agent: false });
    req.on('information', (info) => seen.push(info.statusCode, info.headers['link']));
    req.on('response', (res) => {
      res.resume();
      res.on('end', () => resolve(seen));
    });
    req.end();
  });
  assert.deepEqual(hints, [103, '</style.css>; rel=preload']);
});

test('a stream of events arrives event by event, and ends for the app when the client leaves', async (t) => {
  let left = false;
  const app = await startUpstream(t, 'a-1', (_, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' });
    res.flushHeaders();
    res.on('close', () => (left = true));
    send = (text) => res.write(text);
  });
  let send: (text: string) => void = () => undefined;
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const chunks: string[] = [];
  let headers = false;
  const req = request({ host: '127.0.0.1', port, path: '/a', agent: false });
  req.on('error', () => undefined);
  req.on('response', (res) => {
    headers = true;
    res.on('error', () => undefined);
    res.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk));
  });
  req.end();
  await until(() => headers, 'the head before any event');
  for (const event of ['one', 'two', 'three']) {
    send(`data: ${event}\n\n`);
    await until(() => chunks.at(-1) === `data: ${event}\n\n`, event);
  }
  req.destroy();
  await until(() => left, 'the end at the app');
});

test('a client that does not read slows the app down, and gets everything in the end', async (t) => {
  const total = 64 * 1024 * 1024;
  let written = 0;
  const app = await startUpstream(t, 'a-1', (_, res) => {
    const chunk = Buffer.alloc(65_536);
    const more = (): void => {
      while (written < total) {
        written += chunk.length;
        if (!res.write(chunk)) return;
      }
      res.end();
    };
    res.on('drain', more);
    more();
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const socket = connect({ host: '127.0.0.1', port });
  t.after(() => socket.destroy());
  socket.write('GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  let before = -1;
  await until(() => {
    const still = written === before && written > 0;
    before = written;
    return still;
  }, 'the app waits');
  assert.ok(written < total, `${written} bytes are in buffers`);
  let read = 0;
  socket.on('data', (chunk: Buffer) => (read += chunk.length));
  await new Promise((resolve) => socket.on('end', resolve));
  assert.ok(read > total);
});

test('an app that does not read slows the client down', async (t) => {
  let resume: (() => void) | undefined;
  let received = 0;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    resume = () => {
      req.on('data', (chunk: Buffer) => (received += chunk.length));
      req.on('end', () => res.end('done'));
    };
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const total = 64 * 1024 * 1024;
  const socket = connect({ host: '127.0.0.1', port });
  t.after(() => socket.destroy());
  socket.write(`POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: ${total}\r\n\r\n`);
  const chunk = Buffer.alloc(65_536);
  let sent = 0;
  const more = (): void => {
    while (sent < total) {
      sent += chunk.length;
      if (!socket.write(chunk)) return;
    }
  };
  socket.on('drain', more);
  more();
  let before = -1;
  await until(() => {
    const still = resume !== undefined && sent === before;
    before = sent;
    return still;
  }, 'the client waits');
  assert.ok(sent < total, `${sent} bytes are in buffers`);
  const answered = new Promise<string>((resolve) => {
    socket.once('data', (answer: Buffer) => resolve(answer.toString()));
  });
  resume?.();
  assert.match(await answered, /^HTTP\/1\.1 200 /);
  assert.equal(received, total);
});

test('a client that leaves in the middle of its body ends the call at the app', async (t) => {
  let aborted = false;
  let got = 0;
  const app = await startUpstream(t, 'a-1', (req) => {
    req.on('data', (chunk: Buffer) => (got += chunk.length));
    req.on('error', () => undefined);
    req.on('close', () => (aborted = !req.complete));
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const req = request({
    host: '127.0.0.1',
    port,
    path: '/a',
    method: 'POST',
    agent: false,
    headers: { 'Content-Length': 10 },
  });
  req.on('error', () => undefined);
  req.write('half');
  await until(() => got === 4, 'the first half');
  req.destroy();
  await until(() => aborted, 'the abort at the app');
});

for (const [how, head] of [
  ['with a length', 'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart'],
  ['in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n'],
] as const) {
  test(`an answer ${how} that breaks off never looks whole`, async (t) => {
    const target = await startRawUpstream(t, 'a-1', (socket) => {
      socket.once('data', () => socket.write(head, () => setImmediate(() => socket.resetAndDestroy())));
    });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(target))] });
    const answer = await call(port, '/a').catch((error: NodeJS.ErrnoException) => error.code);
    assert.ok(answer === 'ECONNRESET' || (typeof answer === 'object' && !answer.complete));
    // A client of HTTP/1.0 knows the end by the end of the connection alone: it must see a reset.
    const outcome = await new Promise<string>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port });
      socket.on('data', () => undefined);
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
      socket.on('end', () => resolve('clean end'));
      socket.write('GET /a HTTP/1.0\r\nHost: x\r\n\r\n');
    });
    assert.equal(outcome, 'ECONNRESET');
  });
}

test('an answer that is not HTTP is 502 upstream_protocol, one that never begins 504, a closed connection 502', async (t) => {
  const target = await startRawUpstream(t, 'a-1', (socket) => {
    socket.once('data', (data) => {
      const path = data.toString().split(' ')[1];
      if (path === '/garbage') socket.end('this is no HTTP\r\n\r\n');
      else if (path === '/close') socket.end();
    });
  });
  const { port } = await startTestRouter(t, {
    routes: [routeOf('a', ready(target))],
    config: { upstream_headers_timeout_secs: 1 },
  });
  const codes: string[] = [];
  for (const path of ['/a/garbage', '/a/close', '/a/never']) {
    const answer = await call(port, path);
    codes.push(`${answer.status} ${JSON.parse(answer.body).code}`);
  }
  assert.deepEqual(codes, ['502 upstream_protocol', '502 upstream_reset', '504 upstream_timeout']);
});

test('GET is sent once more, on a new connection, when its kept-alive socket is reset before the answer', async (t) => {
  let connections = 0;
  const target = await startRawUpstream(t, 'a-1', (socket) => {
    connections += 1;
    let requests = 0;
    socket.on('data', () => {
      requests += 1;
      if (requests === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      else socket.resetAndDestroy();
    });
  });
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', ready(target))] });
  for (let i = 0; i < 6; i++) assert.equal((await call(port, '/a')).body, 'ok');
  assert.ok(connections > 3);
  assert.deepEqual(agent.ensures, []);
});

test('POST is never sent twice, also not when its kept-alive socket is reset', async (t) => {
  let requests = 0;
  const target = await startRawUpstream(t, 'a-1', (socket) => {
    let first = true;
    socket.on('data', () => {
      requests += 1;
      if (first) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      else socket.resetAndDestroy();
      first = false;
    });
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(target))] });
  assert.equal((await call(port, '/a', { method: 'POST', body: 'x' })).status, 200);
  const second = await call(port, '/a', { method: 'POST', body: 'x' });
  assert.equal(JSON.parse(second.body).code, 'upstream_reset');
  assert.equal(requests, 2);
});

test('a target killed while idle fails no call, with or without body: they wait for the next one', async (t) => {
  const first = await startUpstream(t, 'a-1', (req, res) => void req.resume().on('end', () => res.end('one')));
  const second = await startUpstream(t, 'a-2', (req, res) => void req.resume().on('end', () => res.end('two')));
  const { port, agent, router } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(first)))] });
  const some = (method: string): Promise<{ body: string }[]> =>
    Promise.all(
      Array.from({ length: 20 }, () => call(port, '/a', method === 'POST' ? { method, body: 'x' } : { method })),
    );
  for (const answer of [...(await some('GET')), ...(await some('POST'))]) assert.equal(answer.body, 'one');
  // In the same turn as the kill, before any FIN was read.
  const killed = first.kill();
  const calls = Promise.all([some('GET'), some('POST')]);
  await killed;
  await until(() => router.held === 40, '40 held calls');
  assert.deepEqual(agent.ensures[0], { app: 'a', version: 1, suspects: ['a-1'] });
  agent.push(routeOf('a', ready(targetOf(second))));
  for (const answer of (await calls).flat()) assert.equal(answer.body, 'two');
});

test('requests with bodies that come in one turn go out with their own heads and bodies', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => {
    let body = '';
    req.setEncoding('latin1').on('data', (part: string) => (body += part));
    req.on('end', () => res.end(`${req.method} ${req.url} ${String(req.headers['x-n'])} ${body}`));
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  const keepAlive = new Agent({ keepAlive: true, maxSockets: 70 });
  t.after(() => keepAlive.destroy());
  const some = (round: number): Promise<void>[] =>
    Array.from({ length: 70 }, async (_, n) => {
      const method = n % 3 === 0 ? 'PUT' : 'POST';
      const headers = { 'x-n': String(n), ...(n % 5 === 0 ? { 'x-more': 'y'.repeat(n) } : {}) };
      // Some come with their head, some in two reads, some are larger than what is kept with a head.
      const body = `${round}-${n}-`.repeat(n % 7 === 0 ? 2_000 : n + 1);
      const answer = await call(port, `/a/${n}`, { method, headers, body, agent: keepAlive });
      assert.equal(answer.body, `${method} /${n} ${n} ${body}`);
    });
  // The second time on connections that are idle at both sides.
  for (const round of [1, 2, 3]) await Promise.all(some(round));
});

test('routes that change under load fail no call, and after the push of a version none is answered by an older one', async (t) => {
  const versions = await Promise.all(
    [1, 2, 3, 4, 5, 6].map((n) =>
      startUpstream(t, `a-${n}`, (req, res) => void req.resume().on('end', () => res.end(String(n)))),
    ),
  );
  const { port, agent } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
  let live = 0;
  let stop = false;
  const problems: string[] = [];
  let answered = 0;
  const keepAlive = new Agent({ keepAlive: true, maxSockets: 20 });
  t.after(() => keepAlive.destroy());
  const worker = async (n: number): Promise<void> => {
    while (!stop) {
      const begunWith = live;
      const options = n % 2 === 0 ? { method: 'POST', body: 'x', agent: keepAlive } : { agent: keepAlive };
      const answer = await call(port, '/a', options);
      answered += 1;
      if (answer.status !== 200) problems.push(`${answer.status} ${answer.body}`);
      else if (Number(answer.body) < begunWith) problems.push(`v${answer.body} after v${begunWith} was pushed`);
    }
  };
  const workers = Promise.all(Array.from({ length: 20 }, (_, n) => worker(n)));
  for (const [index, app] of versions.entries()) {
    const version = index + 1;
    agent.push(routeOf('a', { state: 'hold', reason: 'updating' }, { version }));
    live = version;
    await new Promise(setImmediate);
    agent.push(routeOf('a', ready(targetOf(app)), { version }));
    const enough = answered + 100;
    await until(() => answered > enough, '100 answers');
    // What the agent does next: the older one goes as soon as nothing is on it.
    const older = versions[index - 1];
    if (older !== undefined) {
      const left = await agent.release('a', [older.id], 5_000);
      assert.deepEqual(left, { inFlight: 0, upgraded: 0 });
      await older.kill();
    }
  }
  stop = true;
  await workers;
  assert.deepEqual(problems, []);
  assert.equal(agent.acked.at(-1), agent.seq);
});
