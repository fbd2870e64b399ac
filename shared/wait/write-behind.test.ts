import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from './testing/manual-clock.ts';
import { turns } from './testing/until.ts';
import { WriteBehind, type WriteBehindOptions, type WriteFailure } from './write-behind.ts';

const { signal } = new AbortController();

function ground(options: Partial<WriteBehindOptions<string>> = {}) {
  const clock = createManualClock();
  const written: string[] = [];
  const dropped: string[] = [];
  const store: { failure: WriteFailure | undefined; hold: Promise<void> | undefined } = {
    failure: undefined,
    hold: undefined,
  };
  const queue = new WriteBehind<string>({
    write: async (item) => {
      await store.hold;
      if (store.failure) throw new Error(store.failure);
      written.push(item);
    },
    failureOf: (error) => (error as Error).message as WriteFailure,
    clock,
    backoff: { minMs: 100, maxMs: 100 },
    maxItems: 10,
    onDropped: (item) => dropped.push(item),
    ...options,
  });
  return { clock, written, dropped, store, queue };
}

test('items are written in order, and a flush waits for those added before it', async () => {
  const { queue, written } = ground();
  queue.add('a');
  queue.add('b');
  await queue.flushed(signal);
  assert.deepEqual(written, ['a', 'b']);
  await queue.flushed(signal);
});

test('a passing failure is tried again after a pause, and nothing is lost', async () => {
  const { queue, written, store, clock } = ground();
  store.failure = 'passing';
  queue.add('a');
  await turns();
  const leaving = new AbortController();
  const left = assert.rejects(queue.flushed(leaving.signal), /left/);
  leaving.abort(new Error('left'));
  await left;
  store.failure = undefined;
  await clock.advanceAndSettle(100);
  assert.deepEqual([written, clock.pending], [['a'], 0]);
});

test('a permanent failure is reported, and what is behind it is written', async () => {
  const { queue, written, dropped, store } = ground();
  store.failure = 'permanent';
  queue.add('a');
  await queue.flushed(signal);
  store.failure = undefined;
  queue.add('b');
  await queue.flushed(signal);
  assert.deepEqual([dropped, written], [['a'], ['b']]);
});

test('a fence ends the queue for good', async () => {
  const fences: unknown[] = [];
  const { queue, store } = ground({ onFenced: (error) => fences.push(error) });
  store.failure = 'fenced';
  queue.add('a');
  queue.add('b');
  await assert.rejects(queue.flushed(signal), /fenced/);
  queue.add('c');
  assert.deepEqual([queue.size, fences.length], [0, 1]);
  await queue.close();
});

test('a full queue drops the victim, never the item that is being written', async () => {
  const { queue, written, dropped, store } = ground({ maxItems: 2, victimOf: (queued) => queued.indexOf('c') });
  const hold = Promise.withResolvers<void>();
  store.hold = hold.promise;
  queue.add('a');
  await turns();
  for (const item of ['b', 'c', 'd', 'e']) queue.add(item);
  hold.resolve();
  await queue.flushed(signal);
  assert.deepEqual(
    [dropped, written],
    [
      ['c', 'b'],
      ['a', 'd', 'e'],
    ],
  );
});

test('a newer item of a key takes the place of the older one, also while that is being written', async () => {
  const { queue, written, store } = ground({ keyOf: (item) => item.slice(0, 1) });
  const hold = Promise.withResolvers<void>();
  store.hold = hold.promise;
  queue.add('a1');
  await turns();
  for (const item of ['b1', 'a2', 'b2']) queue.add(item);
  assert.deepEqual(queue.items, ['a2', 'b2']);
  hold.resolve();
  await queue.flushed(signal);
  assert.deepEqual(written, ['a1', 'a2', 'b2']);
});

test('items that are not wanted any more are not written, and a flush does not wait for them', async () => {
  const { queue, store, clock } = ground();
  store.failure = 'passing';
  queue.add('a');
  await turns();
  const flushed = queue.flushed(signal);
  queue.remove((item) => item === 'a');
  await flushed;
  await clock.advanceAndSettle(100);
  assert.equal(queue.size, 0);
});

test('close writes what is queued, and gives up where the store is away', async () => {
  const there = ground();
  there.queue.add('a');
  await there.queue.close();
  there.queue.add('b');
  assert.deepEqual([there.written, there.queue.size], [['a'], 0]);

  const away = ground();
  away.store.failure = 'passing';
  away.queue.add('a');
  await turns();
  const flushed = assert.rejects(away.queue.flushed(signal), { code: 'store_unavailable' });
  await away.queue.close();
  await flushed;
  assert.deepEqual([away.queue.size, away.clock.pending], [1, 0]);
});

test('close writes no longer than closeMs', async () => {
  const { queue, store, clock, written } = ground({ closeMs: 1_000 });
  const hold = Promise.withResolvers<void>();
  store.hold = hold.promise;
  queue.add('a');
  queue.add('b');
  await turns();
  const closed = queue.close();
  clock.advance(1_000);
  hold.resolve();
  await closed;
  assert.deepEqual([written, queue.items], [['a'], ['b']]);
});
