import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { listen } from './listen.ts';

test('listen tells the port, and that a port is taken', async (t) => {
  const [server, other] = [createServer(), createServer()];
  t.after(() => server.close());
  const { port } = await listen(server, { host: '127.0.0.1', port: 0, backlog: 16 });
  assert.ok(port > 0);
  await assert.rejects(listen(other, { host: '127.0.0.1', port }), { code: 'EADDRINUSE' });
  assert.deepEqual([server.listenerCount('error'), other.listenerCount('error')], [0, 0]);
});
