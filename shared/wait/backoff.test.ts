import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoff } from './backoff.ts';

test('the window doubles from minMs up to maxMs', () => {
  const pauses = backoff({ minMs: 200, maxMs: 5_000, random: () => 1 });
  assert.deepEqual(
    Array.from({ length: 7 }, () => pauses.next()),
    [400, 800, 1_600, 3_200, 5_000, 5_000, 5_000],
  );
});

test('the jitter covers the whole window and never goes below minMs', () => {
  const lowest = backoff({ minMs: 200, maxMs: 5_000, random: () => 0 });
  lowest.next();
  assert.equal(lowest.next(), 200);
  const any = backoff({ minMs: 200, maxMs: 5_000 });
  for (let attempt = 0; attempt < 1_000; attempt += 1) {
    const pauseMs = any.next();
    assert.ok(pauseMs >= 200 && pauseMs <= 5_000, String(pauseMs));
  }
});

test('reset begins again', () => {
  const pauses = backoff({ minMs: 100, maxMs: 1_000, random: () => 1 });
  pauses.next();
  pauses.next();
  pauses.reset();
  assert.equal(pauses.next(), 200);
});
