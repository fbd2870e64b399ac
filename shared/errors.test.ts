import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from './errors.ts';

test('with changes the given fields, keeps the others, and makes the original the cause', () => {
  const original = new AppError('build_failed', 'step 3 failed', {
    phase: 'build',
    retryAfterMs: 500,
    data: { step: 3 },
  });
  const changed = original.with({ message: 'the build failed at step 3', data: { step: 3, lines: ['exit 1'] } });
  assert.equal(changed.code, 'build_failed');
  assert.equal(changed.message, 'the build failed at step 3');
  assert.equal(changed.phase, 'build');
  assert.equal(changed.retryAfterMs, 500);
  assert.deepEqual(changed.data, { step: 3, lines: ['exit 1'] });
  assert.equal(changed.cause, original);
  assert.equal(original.message, 'step 3 failed');
});

test('with takes a field away when it is given as undefined', () => {
  const changed = new AppError('internal', 'no', { phase: 'start', retryAfterMs: 1 }).with({ retryAfterMs: undefined });
  assert.equal(changed.retryAfterMs, undefined);
  assert.equal(changed.phase, 'start');
});
