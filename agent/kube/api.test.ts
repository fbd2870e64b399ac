/** The way to the API server against real servers: what streams may not do to requests. */
import assert from 'node:assert/strict';
import { createServer, type ServerResponse } from 'node:http';
import { createServer as createNetServer, type AddressInfo, type Server } from 'node:net';
import { test, type TestContext } from 'node:test';
import { createKubeApi } from './api.ts';

async function listen(t: TestContext, server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

function connectTo(t: TestContext, server: string, maxRequests?: number) {
  const api = createKubeApi({
    access: { server, namespace: undefined, credentials: () => Promise.resolve({ headers: {}, tls: {} }) },
    ...(maxRequests === undefined ? {} : { maxRequests }),
  });
  t.after(() => api.close());
  return api;
}

test('a request is answered at once after 300 streams were opened and aborted', async (t) => {
  const open = new Set<ServerResponse>();
  let opened = 0;
  let changed = (): void => undefined;
  const server = createServer((request, response) => {
    if (request.url !== '/log') {
      response.end('{}');
      return;
    }
    opened += 1;
    open.add(response);
    response.once('close', () => {
      open.delete(response);
      changed();
    });
    response.writeHead(200).write('a line\n');
    changed();
  });
  const api = connectTo(t, `http://127.0.0.1:${String(await listen(t, server))}`);
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        changed = resolve;
      });
    }
  };
  const stop = new AbortController();
  const readers = Array.from({ length: 300 }, async () => {
    const lines = api.lines({ method: 'GET', path: '/log', signal: stop.signal, maxLineBytes: 1_000 });
    for await (const line of lines) assert.equal(line, 'a line');
  });
  const outcomes = Promise.allSettled(readers);
  await until(() => opened === 300);
  await api.request({ method: 'GET', path: '/', signal: AbortSignal.timeout(1_000) });
  stop.abort();
  await api.request({ method: 'GET', path: '/', signal: AbortSignal.timeout(1_000) });
  assert.ok((await outcomes).every(({ status }) => status === 'rejected'));
  await until(() => open.size === 0);
});

test('HTTP/2 is not offered to the API server', async (t) => {
  const { promise: hello, resolve } = Promise.withResolvers<Buffer>();
  const server = createNetServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (bytes: Buffer) => {
      resolve(bytes);
      socket.destroy();
    });
  });
  const api = connectTo(t, `https://127.0.0.1:${String(await listen(t, server))}`);
  const asked = api.request({ method: 'GET', path: '/', signal: AbortSignal.timeout(5_000) });
  await assert.rejects(asked, { code: 'platform_error' });
  const protocols = await hello;
  assert.ok(protocols.includes('\x08http/1.1'));
  assert.ok(!protocols.includes('\x02h2'));
});

test('after several requests without an answer in time the connections are made anew', async (t) => {
  let hangs = true;
  const server = createServer((_request, response) => {
    if (!hangs) response.end('{}');
  });
  const api = connectTo(t, `http://127.0.0.1:${String(await listen(t, server))}`, 1);
  const { signal } = new AbortController();
  // Holds the only connection.
  const held = assert.rejects(api.request({ method: 'GET', path: '/', signal, timeoutMs: 60_000 }), {
    code: 'platform_error',
  });
  const late = Array.from({ length: 3 }, () =>
    assert.rejects(api.request({ method: 'GET', path: '/', signal, timeoutMs: 100 }), { code: 'platform_error' }),
  );
  await Promise.all([held, ...late]);
  hangs = false;
  assert.deepEqual(await api.request({ method: 'GET', path: '/', signal, timeoutMs: 1_000 }), {});
});

test('a stream that says nothing for too long ends without an error', async (t) => {
  const server = createServer((_request, response) => response.writeHead(200).flushHeaders());
  const api = connectTo(t, `http://127.0.0.1:${String(await listen(t, server))}`);
  const { signal } = new AbortController();
  const lines = api.lines({ method: 'GET', path: '/', signal, idleMs: 20, maxLineBytes: 1_000 });
  assert.equal((await lines.next()).done, true);
});
