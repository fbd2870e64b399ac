import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { Probing } from './probing.ts';

/** Apps that do not answer before the test says so. */
function setUp() {
  const clock = createManualClock();
  const probing = new Probing(clock);
  const stop = new AbortController();
  let asked = 0;
  let answer: string | undefined;
  return {
    clock,
    begin: (takesMs = 0) =>
      probing.untilAnswered(async () => {
        asked += 1;
        if (takesMs > 0) await new Promise<void>((resolve) => clock.after(takesMs, resolve));
        return answer;
      }, stop.signal),
    /** @returns how often was asked within so many milliseconds. */
    within: async (ms: number): Promise<number> => {
      const before = asked;
      for (let passed = 0; passed < ms; passed += 1) {
        clock.advance(1);
        await turn();
      }
      return asked - before;
    },
    answer: () => (answer = 'yes'),
    stop: () => stop.abort(),
  };
}

test('an app is asked at once, every 5 ms in its first second, then less and less often', async () => {
  const { begin, within, clock, answer } = setUp();
  const asked = begin();
  assert.equal(await within(1_000), 200);
  assert.equal(await within(150), 10);
  clock.advance(15_000);
  await turn();
  assert.equal(await within(1_000), 4);
  answer();
  await within(250);
  assert.equal(await asked, 'yes');
});

test('what a question takes is no pause on top of it', async () => {
  const { begin, within, stop } = setUp();
  const slow = begin(4);
  assert.equal(await within(100), 20);
  stop();
  await within(10);
  assert.equal(await slow, undefined);
  const { begin: beginHanging, within: withinHanging, stop: stopHanging } = setUp();
  const hanging = beginHanging(20);
  // And one that hangs is followed by the next.
  assert.equal(await withinHanging(210), 10);
  stopHanging();
  await withinHanging(25);
  assert.equal(await hanging, undefined);
});

test('hundreds of apps at once are asked 2,000 times a second, all together', async () => {
  const { begin, within, stop } = setUp();
  const all = Array.from({ length: 400 }, () => begin());
  await within(1);
  assert.equal(await within(1_000), 2_000);
  stop();
  await Promise.all(all);
});
