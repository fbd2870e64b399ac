import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock, createShiftedClock } from './manual-clock.ts';
import { until } from './until.ts';

test('a manual clock runs what falls due on the way, in order', () => {
  const clock = createManualClock(0);
  const ran: string[] = [];
  clock.after(20, () => ran.push(`second at ${clock.nowMs()}`));
  clock.after(10, () => {
    ran.push(`first at ${clock.nowMs()}`);
    clock.after(5, () => ran.push(`set on the way at ${clock.nowMs()}`));
  });
  clock.after(15, () => ran.push('taken back'))();
  clock.advance(30);
  assert.deepEqual(ran, ['first at 10', 'set on the way at 15', 'second at 20']);
  assert.deepEqual([clock.nowMs(), clock.pending], [30, 0]);
});

test('a jump moves the time and runs nothing', async () => {
  const clock = createManualClock(0);
  let ran = false;
  clock.after(10, () => (ran = true));
  clock.jump(20);
  assert.equal(ran, false);
  await clock.advanceAndSettle(0);
  assert.equal(ran, true);
});

test('a shifted clock goes on by itself and can be moved ahead', async () => {
  const clock = createShiftedClock();
  const ran: string[] = [];
  clock.after(1, () => ran.push('by itself'));
  clock.after(60_000, () => ran.push('moved'));
  clock.after(60_000, () => ran.push('taken back'))();
  await until(() => ran.length === 1, 'the first timer');
  clock.advance(60_000);
  assert.deepEqual([ran, clock.pending], [['by itself', 'moved'], 0]);
});

test('until names the condition that never came', async () => {
  await assert.rejects(
    until(() => false, 'the end', { withinMs: 0 }),
    /never came: the end/,
  );
});
