import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../../../shared/wait/clock.ts';
import { createProber } from './probe.ts';

async function listen(t: TestContext, server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(() => new Promise((resolve) => server.close(resolve)));
  return (server.address() as AddressInfo).port;
}

function proberOf(t: TestContext) {
  const prober = createProber({ clock: systemClock });
  t.after(() => prober.close());
  return prober;
}

const { signal } = new AbortController();

test('an open port is an answer, a closed one is none', async (t) => {
  const prober = proberOf(t);
  const port = await listen(
    t,
    createTcpServer((socket) => socket.destroy()),
  );
  assert.equal(await prober.once({ host: '127.0.0.1', port, healthPath: undefined }, signal), true);
  assert.equal(await prober.once({ host: '127.0.0.1', port: 1, healthPath: undefined }, signal), false);
});

test('a health path answers with 2xx or 3xx', async (t) => {
  const prober = proberOf(t);
  const server = createServer((request, response) => {
    response.writeHead(Number(request.url?.slice(1))).end();
  });
  const port = await listen(t, server);
  const seen = await Promise.all(
    [200, 204, 302, 404, 500].map((status) =>
      prober.once({ host: '127.0.0.1', port, healthPath: `/${String(status)}` }, signal),
    ),
  );
  assert.deepEqual(seen, [true, true, true, false, false]);
});

test('a health path of an app that speaks HTTP/2 is asked for by that', async (t) => {
  const prober = proberOf(t);
  const app = createHttp2Server();
  app.on('stream', (stream, headers) => {
    stream.respond({ ':status': Number(headers[':path']?.slice(1)) });
    stream.write('without end');
  });
  const port = await listen(t, app);
  const plain = await listen(
    t,
    createServer((_, response) => response.end()),
  );
  const ask = (at: number, status: number): Promise<boolean> =>
    prober.once({ host: '127.0.0.1', port: at, healthPath: `/${String(status)}`, protocol: 'h2c' }, signal);
  const seen = await Promise.all([ask(port, 200), ask(port, 302), ask(port, 503), ask(plain, 200), ask(1, 200)]);
  assert.deepEqual(seen, [true, true, false, false, false]);
});

test('a watch ends with the first answer of a port that opens later', async (t) => {
  const prober = proberOf(t);
  const taken = createTcpServer();
  const port = await listen(t, taken);
  await new Promise((resolve) => taken.close(resolve));
  const answered = new Promise<void>((resolve) =>
    prober.watch({ host: '127.0.0.1', port, healthPath: undefined }, resolve),
  );
  await listen(
    t,
    createTcpServer((socket) => socket.destroy()),
    port,
  );
  await answered;
});

test('a watch that is taken back, or whose prober is closed, tells nothing and leaves nothing', async () => {
  let probing = 0;
  let release = (): void => undefined;
  const prober = createProber({
    clock: systemClock,
    probe: async () => {
      probing += 1;
      await new Promise<void>((resolve) => (release = resolve));
      probing -= 1;
      return true;
    },
  });
  const address = { host: '10.0.0.1', port: 1, healthPath: undefined };
  const end = prober.watch(address, () => assert.fail('it was taken back'));
  end();
  release();
  prober.watch(address, () => assert.fail('the prober is closed'));
  const closed = prober.close();
  release();
  await closed;
  assert.equal(probing, 0);
});
