import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { sleep } from './sleep.ts';
import { createManualClock } from './testing/manual-clock.ts';

test('a sleep ends on the clock or with its signal, and leaves neither timer nor listener', async () => {
  const clock = createManualClock();
  const controller = new AbortController();
  const whole = sleep(clock, 10, controller.signal);
  clock.advance(10);
  await whole;
  assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
  const cut = sleep(clock, 10, controller.signal);
  controller.abort();
  await cut;
  await sleep(clock, 10, controller.signal);
  assert.equal(clock.pending, 0);
});
