import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import { PhaseTimes } from './attempt.ts';

test('the time in each phase is summed up, also of a phase that comes back, and other phases are left out', () => {
  const clock = createManualClock();
  const times = new PhaseTimes(clock);
  for (const [phase, ms] of [
    ['schedule', 100],
    ['pull', 400],
    ['pull', 50],
    ['start', 200],
    ['pull', 5],
    ['queued', 7],
    ['start', 30],
  ] as const) {
    // prettier-ignore
    times.enter(phase);
    clock.advance(ms);
  }
  assert.deepEqual(times.end(), { scheduleMs: 100, pullMs: 455, startMs: 230 });
  assert.deepEqual(new PhaseTimes(clock).end(), {});
});
