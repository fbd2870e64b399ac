import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retry, type Retry, type RetryOptions } from './retry.ts';
import { createManualClock } from './testing/manual-clock.ts';
import { turns } from './testing/until.ts';

const passing = new Error('passing');

function ground(options: Partial<RetryOptions> = {}) {
  const clock = createManualClock(0);
  const controller = new AbortController();
  const retries: Retry[] = [];
  const attemptsAtMs: number[] = [];
  const run = (fails: (attempt: number) => unknown): Promise<string> =>
    retry(
      async (attempt) => {
        attemptsAtMs.push(clock.nowMs());
        const error = fails(attempt);
        if (error !== undefined) throw error;
        return 'done';
      },
      {
        clock,
        signal: controller.signal,
        backoff: { minMs: 100, maxMs: 100 },
        isPassing: (error) => error === passing,
        onRetry: (told) => retries.push(told),
        ...options,
      },
    );
  return { clock, controller, retries, attemptsAtMs, run };
}

test('what passes is tried again after a pause; the rest is thrown at once', async () => {
  const { clock, run, retries, attemptsAtMs } = ground();
  const result = run((attempt) => (attempt < 3 ? passing : undefined));
  await clock.advanceAndSettle(200);
  assert.equal(await result, 'done');
  assert.deepEqual(attemptsAtMs, [0, 100, 200]);
  assert.deepEqual(
    retries.map(({ attempt, pauseMs }) => [attempt, pauseMs]),
    [
      [1, 100],
      [2, 100],
    ],
  );
  await assert.rejects(
    run(() => new Error('for good')),
    /for good/,
  );
});

test('the number of attempts is bounded, and the caller may word the last error', async () => {
  const { clock, run, attemptsAtMs } = ground({ attempts: 2, exhausted: (_, count) => new Error(`${count} attempts`) });
  const failed = assert.rejects(
    run(() => passing),
    /2 attempts/,
  );
  await clock.advanceAndSettle(1_000);
  await failed;
  assert.equal(attemptsAtMs.length, 2);
});

test('no pause is begun that would end at or after the deadline', async () => {
  const { clock, run, attemptsAtMs } = ground({ deadlineMs: 200 });
  const failed = assert.rejects(run(() => passing));
  await clock.advanceAndSettle(100);
  await failed;
  assert.deepEqual(attemptsAtMs, [0, 100]);
});

test('with retryForMs the last attempt is made when the time is over', async () => {
  const { clock, run, attemptsAtMs } = ground({ retryForMs: 250 });
  const failed = assert.rejects(run(() => passing));
  await clock.advanceAndSettle(250);
  await failed;
  assert.deepEqual(attemptsAtMs, [0, 100, 200, 250]);
});

test('the other side may ask for a longer pause', async () => {
  const { clock, run, attemptsAtMs } = ground({ retryAfterMs: () => 300 });
  const result = run((attempt) => (attempt === 1 ? passing : undefined));
  await clock.advanceAndSettle(300);
  await result;
  assert.deepEqual(attemptsAtMs, [0, 300]);
});

test('an abort ends the pause and the attempt with its reason', async () => {
  const { clock, controller, run } = ground();
  const failed = assert.rejects(
    run(() => passing),
    /stop/,
  );
  await turns();
  controller.abort(new Error('stop'));
  await failed;
  assert.equal(clock.pending, 0);
  await assert.rejects(
    run(() => undefined),
    /stop/,
  );
});
