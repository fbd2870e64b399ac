import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from './testing/manual-clock.ts';
import { turns } from './testing/until.ts';
import { watchUntil, type WatchUntilOptions } from './watch-until.ts';

function ground() {
  const clock = createManualClock();
  const controller = new AbortController();
  const listeners = new Set<() => void>();
  const state = { value: 0, looks: 0 };
  const set = (value: number): void => {
    state.value = value;
    for (const listener of listeners) listener();
  };
  const wait = (options: Partial<WatchUntilOptions<number>> = {}): Promise<number> =>
    watchUntil({
      look: () => {
        state.looks += 1;
        return state.value >= 2 ? { done: state.value } : { againMs: 1_000 };
      },
      subscribe: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      clock,
      signal: controller.signal,
      ...options,
    });
  return { clock, controller, listeners, state, set, wait };
}

test('it looks at once and at each change, and unsubscribes', async () => {
  const { wait, set, state, listeners, clock } = ground();
  const waiting = wait();
  set(1);
  await turns();
  set(2);
  assert.equal(await waiting, 2);
  assert.equal(await wait(), 2);
  assert.deepEqual([state.looks, listeners.size, clock.pending], [4, 0, 0]);
});

test('a change during the look is not lost', async () => {
  const { wait, set, state } = ground();
  const look = (): { done: number } | { againMs?: number } => {
    if (state.value >= 2) return { done: state.value };
    set(2);
    return {};
  };
  assert.equal(await wait({ look }), 2);
});

test('it looks again after the time that the look asks for', async () => {
  const { wait, clock, state } = ground();
  const waiting = wait({ look: () => (state.value >= 2 ? { done: state.value } : { againMs: 10 }) });
  state.value = 2; // told to nobody
  await clock.advanceAndSettle(10);
  assert.equal(await waiting, 2);
});

test('a timeout and an abort end the wait and leave nothing behind', async () => {
  const { wait, clock, controller, listeners } = ground();
  const late = assert.rejects(wait({ timeoutMs: 10 }), { code: 'deadline_exceeded' });
  clock.advance(10);
  await late;
  const left = assert.rejects(wait({ timeoutMs: 10 }), /left/);
  controller.abort(new Error('left'));
  await left;
  assert.deepEqual([listeners.size, clock.pending], [0, 0]);
});
