import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import type { Starter } from './machine-deps.ts';
import { Wakes } from './wakes.ts';

const call: Starter = {
  actor: 'router',
  forCall: true,
  cause: {
    router: 'router-0/1a2b',
    method: 'GET',
    host: 'shop.example',
    path: '/cart',
    userAgent: 'curl/8.7.1',
    client: '192.0.2.7',
    requestId: 'req-1',
  },
};
const person: Starter = { actor: 'ann', forCall: false, cause: undefined };

function ground() {
  const clock = createManualClock();
  const events: string[][] = [];
  const counts: Record<string, number> = {};
  const metrics = { wake: (result: string) => void (counts[result] = (counts[result] ?? 0) + 1) };
  const wakes = new Wakes({ clock, metrics, record: (...event) => void events.push(event) });
  /** To zero, and a start. */
  const wake = (starter: Starter | undefined, maxPerHour = 0): void => {
    wakes.fellAsleep();
    wakes.begin(starter, maxPerHour);
    wakes.awake();
  };
  return { clock, counts, events, wakes, wake };
}

test('an event says which call, or which person, woke an app', () => {
  const { events, wake } = ground();
  wake(call);
  wake(person);
  wake({ ...call, cause: undefined });
  const message = 'by GET shop.example/cart from 192.0.2.7, "curl/8.7.1", request req-1, router router-0/1a2b';
  assert.deepEqual(events, [
    ['app.woken', message, 'router'],
    ['app.woken', 'by ann', 'ann'],
    ['app.woken', 'by a call', 'router'],
  ]);
});

test('the first start of a version is recorded too, and is not a wake', () => {
  const { events, wakes, wake } = ground();
  wakes.begin(call, 1);
  wakes.begin(call, 1);
  wake(call, 1);
  assert.deepEqual(
    events.map(([kind]) => kind),
    ['version.called', 'version.called', 'app.woken'],
  );
});

test('over the budget calls are refused until the oldest wake is an hour old, and one event says so', () => {
  const { clock, counts, events, wakes, wake } = ground();
  wake(call, 2);
  clock.advance(600_000);
  wake(call, 2);
  clock.advance(1_000);
  wakes.fellAsleep();
  for (let count = 0; count < 3; count += 1) {
    assert.throws(() => wakes.begin(call, 2), { code: 'wake_budget_exhausted', status: 503, retryAfterMs: 2_999_000 });
  }
  const exhausted = events.filter(([kind]) => kind === 'app.wakes_exhausted');
  assert.equal(exhausted.length, 1);
  assert.match(exhausted[0]?.[1] ?? '', /2 times within an hour.*2999 s.*GET shop\.example\/cart/);
  clock.advance(2_998_999);
  assert.throws(() => wakes.begin(call, 2), { retryAfterMs: 1 });
  clock.advance(1);
  wakes.begin(call, 2);
  wakes.awake();
  wakes.fellAsleep();
  assert.throws(() => wakes.begin(call, 2), { retryAfterMs: 600_000 });
  assert.equal(events.filter(([kind]) => kind === 'app.wakes_exhausted').length, 2);
  assert.deepEqual(counts, { call: 3, refused: 5 });
});

test('a person is never refused, and what a person wakes counts', () => {
  const { wakes, wake } = ground();
  wake(person, 1);
  wake(person, 1);
  wakes.fellAsleep();
  assert.throws(() => wakes.begin(call, 1), { code: 'wake_budget_exhausted' });
  wakes.begin(undefined, 1);
});

test('without a budget the number of wakes is unlimited, and the memory for them stays bounded', () => {
  const { wakes, wake } = ground();
  for (let count = 0; count < 10_000; count += 1) wake(call);
  wakes.fellAsleep();
  assert.throws(() => wakes.begin(call, 3_600), { code: 'wake_budget_exhausted' });
});
