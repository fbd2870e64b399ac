import assert from 'node:assert/strict';
import { test } from 'node:test';
import { holdLimitOfRouter } from '../../shared/protocol/routes.ts';
import { loadRouterConfig } from '../config.ts';
import { asleep, routeOf } from '../testing/router.ts';
import { configOfWorker, routeOfWorker, shareOf } from './shares.ts';

test('the shares of all workers are the whole, each at least one', () => {
  for (const [total, workers, shares] of [
    [10, 3, [4, 3, 3]],
    [9, 3, [3, 3, 3]],
    [2, 3, [1, 1, 1]],
    [1, 1, [1]],
  ] as const) {
    assert.deepEqual(
      Array.from({ length: workers }, (_, index) => shareOf(total, { index, workers })),
      shares,
    );
  }
});

test('a worker has a name of its own and its share of the bounds, and all else as it is', () => {
  const config = loadRouterConfig({
    file: undefined,
    env: {
      HOLDFAST_ROUTER_NAME: 'pod',
      HOLDFAST_ROUTER_TOKEN: 'a-token-for-tests-0123456789',
      HOLDFAST_ROUTER_MAX_IDLE_UPSTREAM_SOCKETS: '0',
      HOLDFAST_ROUTER_HOLD_MAX_CALLS: '101',
      HOLDFAST_ROUTER_MAX_CONNECTIONS: '10501',
    },
  });
  const own = configOfWorker(config, { index: 1, workers: 2 });
  assert.deepEqual(
    [own.name, own.hold_max_calls, own.max_connections, own.max_upstream_sockets, own.max_idle_upstream_sockets],
    ['pod-2', 50, 5_250, 500, 0],
  );
  assert.deepEqual(
    [own.stream_buffer_bytes, own.stream_buffers_max_bytes, own.tls.max_handshakes],
    [config.stream_buffer_bytes, config.stream_buffers_max_bytes / 2, 256],
  );
});

test('the bounds of an app are divided too, where there are any', () => {
  const place = { index: 0, workers: 4 };
  const bounded = routeOfWorker(routeOf('a', asleep, { maxConcurrency: 10, maxConcurrencyTotal: 3 }), place);
  assert.deepEqual([bounded.maxConcurrency, bounded.maxConcurrencyTotal, bounded.holdMaxCalls], [3, 1, 1_250]);
  const open = routeOfWorker(routeOf('a', asleep, { holdMaxCalls: holdLimitOfRouter }), place);
  assert.deepEqual(
    [open.maxConcurrency, 'maxConcurrencyTotal' in open, open.holdMaxCalls],
    [0, false, holdLimitOfRouter],
  );
});
