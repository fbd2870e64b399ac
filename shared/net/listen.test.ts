import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { listen, listenUnix } from './listen.ts';

test('listen tells the port, and that a port is taken', async (t) => {
  const [server, other] = [createServer(), createServer()];
  t.after(() => server.close());
  const { port } = await listen(server, { host: '127.0.0.1', port: 0, backlog: 16 });
  assert.ok(port > 0);
  await assert.rejects(listen(other, { host: '127.0.0.1', port }), { code: 'EADDRINUSE' });
  assert.deepEqual([server.listenerCount('error'), other.listenerCount('error')], [0, 0]);
});

test('a server listens on a path', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'listen-'));
  const server = createServer();
  t.after(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });
  const path = join(folder, 'socket');
  await listenUnix(server, { path });
  assert.equal(server.address(), path);
});
