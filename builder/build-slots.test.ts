import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createBuildSlots } from './build-slots.ts';

const patient = new AbortController().signal;

test('builds have their turn in order, are told their position, and the queue is bounded', async () => {
  const slots = createBuildSlots({ maxConcurrent: 1, maxQueue: 2 });
  const told: string[] = [];
  const enter = (name: string): { turn: Promise<number>; leave: () => void } => {
    const place = slots.enter();
    return { turn: place.turn(patient, (position) => told.push(`${name} ${position}`)), leave: () => place.leave() };
  };
  const [a, b, c] = [enter('a'), enter('b'), enter('c')];
  assert.throws(() => slots.enter(), { code: 'build_queue_full', retryAfterMs: 15_000 });
  assert.equal(await a.turn, 0);
  a.leave();
  a.leave();
  assert.equal(await b.turn, 0);
  b.leave();
  assert.equal(await c.turn, 0);
  const empty = slots.empty();
  c.leave();
  await empty;
  assert.deepEqual(told, ['b 1', 'b 1', 'c 2', 'c 1']);
});

test('one that gives up while it waits frees its place, and others move up', async () => {
  const slots = createBuildSlots({ maxConcurrent: 1, maxQueue: 2 });
  const first = slots.enter();
  await first.turn(patient, () => undefined);
  const impatient = new AbortController();
  const second = slots.enter();
  const refused = assert.rejects(
    second.turn(impatient.signal, () => undefined),
    /enough/,
  );
  const third = slots.enter();
  const positions: number[] = [];
  const turn = third.turn(patient, (position) => positions.push(position));
  impatient.abort(new Error('enough'));
  await refused;
  second.leave();
  first.leave();
  assert.equal(await turn, 0);
  assert.deepEqual([...new Set(positions)], [2, 1]);
});
