import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { AppError } from '../errors.ts';
import { aborted, cancellation, deadlineSignal, onAbort, untilAborted, withDeadline } from './abort.ts';
import { createManualClock } from './testing/manual-clock.ts';

const listeners = (signal: AbortSignal): number => getEventListeners(signal, 'abort').length;
const never = new Promise<never>(() => {});

test('onAbort calls once, at once where the signal has aborted, and not after it was disposed', () => {
  const controller = new AbortController();
  const calls: string[] = [];
  onAbort(controller.signal, () => calls.push('kept'));
  onAbort(controller.signal, () => calls.push('taken back'))[Symbol.dispose]();
  controller.abort();
  onAbort(controller.signal, () => calls.push('late'));
  assert.deepEqual(calls, ['kept', 'late']);
});

test('untilAborted passes the outcome on and leaves no listener', async () => {
  const { signal } = new AbortController();
  assert.equal(await untilAborted(Promise.resolve(1), signal), 1);
  await assert.rejects(untilAborted(Promise.reject(new Error('failed')), signal), /failed/);
  assert.equal(listeners(signal), 0);
});

test('untilAborted ends with the reason, and a later failure of the work is no unhandled rejection', async () => {
  const controller = new AbortController();
  const work = Promise.withResolvers<void>();
  const waiting = untilAborted(work.promise, controller.signal);
  controller.abort('because');
  await assert.rejects(waiting, (reason) => reason === 'because');
  await assert.rejects(untilAborted(Promise.reject(new Error('lost')), controller.signal), (e) => e === 'because');
  work.reject(new Error('nobody is told'));
  assert.equal(listeners(controller.signal), 0);
});

test('aborted resolves when the signal aborts, or has', async () => {
  const controller = new AbortController();
  const waiting = aborted(controller.signal);
  controller.abort();
  await waiting;
  await aborted(controller.signal);
});

test('a cancellation is the AppError of the signal, or cancelled', () => {
  const reason = new AppError('superseded', 'newer');
  assert.equal(cancellation(AbortSignal.abort(reason)), reason);
  assert.equal(cancellation(AbortSignal.abort()).code, 'cancelled');
});

test('a deadline aborts on the clock, and says that it was the deadline', () => {
  const clock = createManualClock();
  const outer = new AbortController();
  using deadline = deadlineSignal({ clock, ms: 10, signal: outer.signal });
  clock.advance(9);
  assert.equal(deadline.signal.aborted, false);
  clock.advance(1);
  assert.equal(deadline.expired, true);
  assert.equal((deadline.signal.reason as AppError).code, 'deadline_exceeded');
});

test('a deadline passes the abort of the outer signal on and leaves nothing behind', async () => {
  const clock = createManualClock();
  const outer = new AbortController();
  const waiting = withDeadline({ clock, ms: 10, signal: outer.signal }, (signal) => untilAborted(never, signal));
  outer.abort('outer');
  await assert.rejects(waiting, (reason) => reason === 'outer');
  const { signal } = new AbortController();
  assert.equal(await withDeadline({ clock, ms: 10, signal }, () => Promise.resolve(1)), 1);
  assert.deepEqual([clock.pending, listeners(signal), listeners(outer.signal)], [0, 0, 0]);
});
