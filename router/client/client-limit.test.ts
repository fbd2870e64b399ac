import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { clientOf } from './client-limit.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { startTestRouter, type RouterUnderTest } from '../testing/router.ts';

function open(t: TestContext, port: number, localAddress: string): Socket {
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  socket.on('error', () => undefined);
  socket.resume();
  t.after(() => socket.destroy());
  return socket;
}

async function metric({ registry }: RouterUnderTest, line: string): Promise<number> {
  return Number(new RegExp(`^${line} (\\d+)$`, 'm').exec(await registry.metrics())?.[1] ?? 0);
}

const refused = 'holdfast_router_connections_refused_total\\{reason="client"\\}';

test('the connections of one client are bounded, whatever others have; a closed one frees its place; a trusted proxy has no limit', async (t) => {
  const router = await startTestRouter(t, {
    config: { max_connections_per_client: 3, trusted_proxies: ['127.0.0.3'] },
  });
  const first = Array.from({ length: 3 }, () => open(t, router.port, '127.0.0.1'));
  const other = open(t, router.port, '127.0.0.2');
  const proxied = Array.from({ length: 10 }, () => open(t, router.port, '127.0.0.3'));
  while ((await metric(router, 'holdfast_router_connections')) < 14) await new Promise(setImmediate);
  const over = open(t, router.port, '127.0.0.1');
  await until(() => over.closed, 'the end of one too many');
  assert.equal(await metric(router, refused), 1);
  assert.ok([...first, other, ...proxied].every(({ closed }) => !closed));
  first[0]?.destroy();
  while ((await metric(router, 'holdfast_router_connections')) > 13) await new Promise(setImmediate);
  const next = open(t, router.port, '127.0.0.1');
  while ((await metric(router, 'holdfast_router_connections')) < 14) await new Promise(setImmediate);
  assert.equal(next.closed, false);
});

test('by default a client has no limit of its own', async (t) => {
  const router = await startTestRouter(t);
  Array.from({ length: 100 }, () => open(t, router.port, '127.0.0.1'));
  while ((await metric(router, 'holdfast_router_connections')) < 100) await new Promise(setImmediate);
  assert.equal(await metric(router, refused), 0);
});

for (const [address, client] of [
  ['192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:db8:1:2:3::', '2001:db8:1:2::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
] as const) {
  test(`${address} is of the client ${client}`, () => assert.equal(clientOf(address), client));
}
