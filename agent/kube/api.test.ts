/** The way to the API server against real servers: bounds, deadlines, credentials, and what streams may not do to requests. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { createServer as createNetServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../shared/wait/clock.ts';
import { createKubeApi } from './api.ts';
import { loadClusterConfig } from './cluster-config.ts';
import { isStatus } from './errors.ts';
import { connectTo, serve } from './testing/local-api.ts';

const one = { namespace: 'apps', name: 'one' };
const within = (ms: number) => ({ signal: AbortSignal.timeout(ms) });

test('a request is answered at once after 300 streams were opened and aborted', async (t) => {
  const open = new Set<ServerResponse>();
  let opened = 0;
  let changed = (): void => undefined;
  const server = await serve(t, (request, response) => {
    if (request.url?.includes('/log') !== true) {
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
  const api = connectTo(t, server);
  const until = async (condition: () => boolean): Promise<void> => {
    while (!condition()) {
      await new Promise<void>((resolve) => {
        changed = resolve;
      });
    }
  };
  const stop = new AbortController();
  const readers = Array.from({ length: 300 }, async () => {
    const lines = api.log(one, { container: 'app', follow: true }, { signal: stop.signal, maxLineBytes: 1_000 });
    for await (const line of lines) assert.equal(line, 'a line');
  });
  const outcomes = Promise.allSettled(readers);
  await until(() => opened === 300);
  await api.read('Pod', one, within(1_000));
  stop.abort();
  await api.read('Pod', one, within(1_000));
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
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.after(() => server.close());
  const api = connectTo(t, `https://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
  await assert.rejects(api.read('Pod', one, within(5_000)), { code: 'platform_error' });
  const protocols = await hello;
  assert.ok(protocols.includes('\x08http/1.1'));
  assert.ok(!protocols.includes('\x02h2'));
});

test('requests share their connections', async (t) => {
  const connections = new Set<unknown>();
  const server = await serve(t, (request, response) => {
    connections.add(request.socket);
    response.end('{}');
  });
  const api = connectTo(t, server, { maxRequests: 2 });
  await Promise.all(Array.from({ length: 20 }, () => api.read('Pod', one, within(5_000))));
  await api.read('Pod', one, within(5_000));
  assert.equal(connections.size, 2);
});

test('after several requests without an answer in time the connections are made anew', async (t) => {
  let hangs = true;
  const server = await serve(t, (_request, response) => {
    if (!hangs) response.end('{}');
  });
  const api = connectTo(t, server, { maxRequests: 1 });
  const { signal } = new AbortController();
  // Holds the only connection.
  const held = assert.rejects(api.read('Pod', one, { signal, timeoutMs: 60_000 }), { code: 'platform_error' });
  const late = Array.from({ length: 3 }, () =>
    assert.rejects(api.read('Pod', one, { signal, timeoutMs: 100 }), { code: 'platform_error' }),
  );
  await Promise.all([held, ...late]);
  hangs = false;
  assert.deepEqual(await api.read('Pod', one, { signal, timeoutMs: 1_000 }), {});
});

test('a stream that says nothing for too long ends without an error', async (t) => {
  const server = await serve(t, (_request, response) => response.writeHead(200).flushHeaders());
  const api = connectTo(t, server);
  const { signal } = new AbortController();
  const lines = api.log(one, { container: 'app' }, { signal, idleMs: 20, maxLineBytes: 1_000 });
  assert.equal((await lines.next()).done, true);
});

test('a stream that does not begin in time fails, and one whose caller leaves ends at once', async (t) => {
  const server = await serve(t, () => undefined);
  const api = connectTo(t, server);
  const { signal } = new AbortController();
  const late = api.log(one, { container: 'app' }, { signal, timeoutMs: 20, maxLineBytes: 1_000 });
  await assert.rejects(late.next(), { code: 'platform_error' });
  const left = api.log(one, { container: 'app' }, { ...within(20), timeoutMs: 60_000, maxLineBytes: 1_000 });
  await assert.rejects(left.next(), { code: 'cancelled' });
});

test('of a line that is too long the beginning is kept', async (t) => {
  const server = await serve(t, (_request, response) => response.end(`${'x'.repeat(5_000)}\nshort\n`));
  const api = connectTo(t, server);
  const lines: string[] = [];
  for await (const line of api.log(one, { container: 'app' }, { ...within(5_000), maxLineBytes: 10 })) lines.push(line);
  assert.deepEqual(lines, ['x'.repeat(10), 'short']);
});

test('a refusal carries the status and the words of the API server; what is missing is no error', async (t) => {
  const server = await serve(t, (request, response) => {
    const status = request.url?.endsWith('/gone') === true ? 404 : 409;
    response
      .writeHead(status)
      .end(JSON.stringify({ kind: 'Status', reason: 'Conflict', message: 'changed meanwhile' }));
  });
  const api = connectTo(t, server);
  const error: unknown = await api.read('Pod', one, within(5_000)).catch((cause: unknown) => cause);
  assert.ok(isStatus(error, 409));
  assert.match(String(error), /changed meanwhile/);
  const gone = { namespace: 'apps', name: 'gone' };
  assert.equal(await api.read('Pod', gone, within(5_000)), undefined);
  assert.equal(await api.patch('Pod', gone, {}, within(5_000)), undefined);
  assert.equal(await api.delete('Pod', gone, {}, within(5_000)), false);
  assert.equal(await api.delete('Pod', one, { uid: 'u' }, within(5_000)), false, 'the name belongs to another object');
});

test('objects come as the API server sends them, with fields that the client library does not know', async (t) => {
  const deployment = { metadata: { name: 'one', creationTimestamp: '2026-01-01T00:00:00Z' }, spec: { newField: 1 } };
  const sent = Promise.withResolvers<string>();
  const server = await serve(t, (request, response) => {
    if (request.method === 'PATCH') request.once('data', (body: Buffer) => sent.resolve(body.toString()));
    const isWatch = request.url?.includes('watch=true') === true;
    response.end(
      JSON.stringify(isWatch ? { type: 'ADDED', object: deployment } : { ...deployment, kind: 'Deployment' }),
    );
  });
  const api = connectTo(t, server);
  const found: unknown = await api.read('Deployment', one, within(5_000));
  assert.deepEqual(found, { ...deployment, kind: 'Deployment' });
  for await (const { object } of api.watch('Deployment', 'apps', {}, { ...within(5_000), maxLineBytes: 10_000 })) {
    assert.deepEqual(object, deployment);
  }
  await api.patch('Pod', one, { metadata: { labels: { role: null } } }, within(5_000));
  assert.deepEqual(JSON.parse(await sent.promise), {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { labels: { role: null }, ...one },
  });
});

test('the proxy of a kubeconfig is used', async (t) => {
  const reached: (string | undefined)[] = [];
  const proxyUrl = await serve(t, (request, response) => {
    reached.push(request.url);
    response.end('{}');
  });
  await connectTo(t, 'http://api.example', { proxyUrl }).read('Pod', one, within(5_000));
  assert.deepEqual(reached, ['http://api.example/api/v1/namespaces/apps/pods/one']);
});

test('a token that has expired is asked for again', async (t) => {
  const tokens: (string | undefined)[] = [];
  const server = await serve(t, (request, response) => {
    tokens.push(request.headers.authorization);
    response.end('{}');
  });
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-kubeconfig-'));
  t.after(() => rm(folder, { recursive: true }));
  // The plugin counts its calls in a file; each token has expired already.
  const plugin = `
    const file = ${JSON.stringify(join(folder, 'calls'))};
    require('fs').appendFileSync(file, 'x');
    const token = 'token-' + require('fs').readFileSync(file, 'utf8').length;
    const status = { token, expirationTimestamp: '2020-01-01T00:00:00Z' };
    console.log(JSON.stringify({ apiVersion: 'client.authentication.k8s.io/v1', kind: 'ExecCredential', status }));`;
  const exec = { apiVersion: 'client.authentication.k8s.io/v1', command: process.execPath, args: ['-e', plugin] };
  const kubeconfig = join(folder, 'config');
  await writeFile(
    kubeconfig,
    JSON.stringify({
      clusters: [{ name: 'c', cluster: { server, 'insecure-skip-tls-verify': true } }],
      users: [{ name: 'u', user: { exec } }],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      'current-context': 'x',
    }),
  );
  const api = createKubeApi({ config: loadClusterConfig({ kubeconfig, env: {} }), clock: systemClock });
  t.after(() => api.close());
  await api.read('Pod', one, within(10_000));
  await api.read('Pod', one, within(10_000));
  assert.deepEqual(tokens, ['Bearer token-1', 'Bearer token-2']);
});

test('without a kubeconfig outside a pod the configuration is refused', () => {
  assert.throws(() => loadClusterConfig({ env: {} }), { code: 'config_invalid' });
  assert.throws(() => loadClusterConfig({ kubeconfig: '/nowhere', env: {} }), { code: 'config_invalid' });
});
