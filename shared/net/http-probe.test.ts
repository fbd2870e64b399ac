import assert from 'node:assert/strict';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { test, type TestContext } from 'node:test';
import { probeOnce, type Probe, type ProbeOutcome } from './http-probe.ts';

async function listen(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

/** An app that says these parts, each in a packet of its own, to whoever has asked; then nothing more. */
async function appThatSays(
  t: TestContext,
  ...parts: readonly (string | Buffer)[]
): Promise<{ port: number; heard: () => string }> {
  let heard = '';
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    let begun = false;
    socket.on('data', (chunk) => {
      heard += chunk.toString();
      if (begun || !heard.includes('\r\n\r\n')) return;
      begun = true;
      const left = [...parts];
      const say = (): void =>
        void (left.length > 0 && !socket.destroyed && socket.write(left.shift() ?? '', () => setImmediate(say)));
      say();
    });
  });
  return { port: await listen(t, server), heard: () => heard };
}

const never = new AbortController().signal;
const timeouts = { connectTimeoutMs: 5_000, answerTimeoutMs: 5_000 };

function probe(probe: Partial<Probe> & { readonly port: number }, signal = never): Promise<ProbeOutcome> {
  return probeOnce({ host: '127.0.0.1', wants: 'answer', ...timeouts, ...probe }, signal);
}

const healthy: Record<string, readonly string[]> = {
  'in one piece': ['HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
  'by HTTP/1.0, without a reason': ['HTTP/1.0 204\r\n\r\n'],
  'in pieces': ['HT', 'TP/1.1 20', '0 O', 'K\r', '\nContent-Length: 0\r\n\r\n'],
  'after interim answers': [
    'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r',
    '\nHTTP/1.1 302 Found\r\n',
  ],
};
for (const [how, parts] of Object.entries(healthy)) {
  test(`an app is healthy that says so ${how}`, async (t) => {
    const { port } = await appThatSays(t, ...parts);
    assert.deepEqual(await probe({ port, wants: 'success', path: '/healthz' }), { kind: 'ready' });
  });
}

const unhealthy: Record<string, readonly [outcome: ProbeOutcome, ...parts: readonly (string | Buffer)[]]> = {
  'that it is not': [{ kind: 'status', status: 503 }, 'HTTP/1.1 503 Service Unavailable\r\n'],
  'that it is not, after an interim answer': [
    { kind: 'status', status: 500 },
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 \r\n',
  ],
  'something else than HTTP': [{ kind: 'foreign', speaks: undefined }, '220 mail.example ESMTP\r\n'],
  'something else than HTTP, without a line': [{ kind: 'foreign', speaks: undefined }, 'hello'],
  'a TLS alert': [{ kind: 'foreign', speaks: 'TLS' }, Buffer.from('1503010002020a', 'hex')],
  'a SETTINGS frame': [
    { kind: 'foreign', speaks: 'HTTP/2' },
    Buffer.from('000006040000000000', 'hex'),
    Buffer.from('000300000064', 'hex'),
  ],
  'interim answers without end': [
    { kind: 'foreign', speaks: 'HTTP/1' },
    ...Array<string>(2_000).fill('HTTP/1.1 102 Processing\r\n\r\n'),
  ],
  'a line without end': [
    { kind: 'foreign', speaks: 'HTTP/1' },
    'HTTP/1.1 2',
    ...Array<string>(200).fill('x'.repeat(200)),
  ],
};
for (const [what, [outcome, ...parts]] of Object.entries(unhealthy)) {
  test(`an app is not healthy that says ${what}`, async (t) => {
    const { port } = await appThatSays(t, ...parts);
    assert.deepEqual(await probe({ port, wants: 'success', path: '/healthz' }), outcome);
  });
}

test('any status is an answer where one is enough, and what is not HTTP is none', async (t) => {
  const app = createHttpServer((request, response) => response.writeHead(Number(request.headers.host)).end('page'));
  const port = await listen(t, app);
  for (const status of [200, 401, 404, 426, 500, 503]) {
    assert.deepEqual(await probe({ port, authority: String(status) }), { kind: 'ready' }, String(status));
  }
  const { port: mail } = await appThatSays(t, '220 mail.example ESMTP\r\n');
  assert.deepEqual(await probe({ port: mail }), { kind: 'foreign', speaks: undefined });
});

test('a connection is enough where one is wanted', async (t) => {
  const port = await listen(
    t,
    createServer((socket) => socket.destroy()),
  );
  assert.deepEqual(await probe({ port, wants: 'connection' }), { kind: 'ready' });
  assert.deepEqual(await probe({ port: 1, wants: 'connection' }), { kind: 'refused' });
});

test('an app that says nothing is silent when the time is over, or the signal aborts; one that hangs up has closed', async (t) => {
  const { port, heard } = await appThatSays(t);
  const path = '/healthz?deep=1';
  assert.deepEqual(await probe({ port, path, answerTimeoutMs: 20 }), { kind: 'silent' });
  assert.match(
    heard(),
    /^GET \/healthz\?deep=1 HTTP\/1\.1\r\nHost: 127\.0\.0\.1:\d+\r\nUser-Agent: holdfast-probe\r\n/,
  );
  assert.deepEqual(await probe({ port }, AbortSignal.timeout(50)), { kind: 'silent' });
  assert.deepEqual(await probe({ port }, AbortSignal.abort()), { kind: 'refused' });
  const closing = await listen(
    t,
    createServer((socket) => socket.once('data', () => socket.end())),
  );
  assert.deepEqual(await probe({ port: closing }), { kind: 'closed' });
});

test('the request names the host that it is given', async (t) => {
  const { port, heard } = await appThatSays(t, 'HTTP/1.1 200 OK\r\n\r\n');
  await probe({ port, authority: 'shop.example' });
  assert.match(heard(), /^GET \/ HTTP\/1\.1\r\nHost: shop\.example\r\n/);
});

test('a short answer is read to its end, and a long one is left after a moment', async (t) => {
  const ends: ('finished' | 'left')[] = [];
  const seen = Promise.withResolvers<void>();
  const app = createHttpServer((request, response) => {
    response.writeHead(200);
    response.write('first');
    if (request.url === '/short') setTimeout(() => response.end('last'), 50);
    response.once('close', () => {
      ends.push(response.writableFinished ? 'finished' : 'left');
      if (ends.length === 2) seen.resolve();
    });
  });
  const port = await listen(t, app);
  await probe({ port, path: '/short' });
  await probe({ port, path: '/endless' });
  await seen.promise;
  assert.deepEqual(ends, ['finished', 'left']);
});

test('HTTP/2 is answered by SETTINGS, and a health path by its status', async (t) => {
  const app = createHttp2Server();
  const hosts: (string | undefined)[] = [];
  app.on('stream', (stream, headers) => {
    hosts.push(headers[':authority']);
    stream.respond({ ':status': Number(headers[':path']?.slice(1)) });
    stream.write('without end');
  });
  const port = await listen(t, app);
  const h2c = { port, protocol: 'h2c' } as const;
  assert.deepEqual(await probe(h2c), { kind: 'ready' });
  assert.deepEqual(hosts, [], 'no request is made for it');
  const ask = (path: string): Promise<ProbeOutcome> =>
    probe({ ...h2c, path, wants: 'success', authority: 'a.example' });
  assert.deepEqual(await ask('/200'), { kind: 'ready' });
  assert.deepEqual(await ask('/302'), { kind: 'ready' });
  assert.deepEqual(await ask('/503'), { kind: 'status', status: 503 });
  assert.deepEqual(hosts, ['a.example', 'a.example', 'a.example']);
  const plain = await listen(
    t,
    createHttpServer((_, response) => response.end()),
  );
  assert.deepEqual(await probe({ port: plain, protocol: 'h2c' }), { kind: 'foreign', speaks: 'HTTP/1' });
  assert.deepEqual(await probe({ port: 1, protocol: 'h2c' }), { kind: 'refused' });
  assert.deepEqual(await probe({ port: 1, protocol: 'h2c', wants: 'success' }), { kind: 'refused' });
});
