import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKeyedMutex, createMutex } from './mutex.ts';
import { turns } from './testing/until.ts';

const { signal } = new AbortController();

test('a mutex runs one at a time, in order, also after a failure', async () => {
  const mutex = createMutex();
  const steps: string[] = [];
  const work = (name: string) => async (): Promise<void> => {
    steps.push(`${name} begins`);
    await turns(2);
    steps.push(`${name} ends`);
    if (name === 'a') throw new Error('failed');
  };
  const failed = assert.rejects(mutex.run(signal, work('a')), /failed/);
  await Promise.all([failed, mutex.run(signal, work('b'))]);
  assert.deepEqual(steps, ['a begins', 'a ends', 'b begins', 'b ends']);
  await mutex.idle();
});

test('a wait for the mutex ends with its signal, and the queue is bounded', async () => {
  const mutex = createMutex({ maxWaiting: 1 });
  using _place = await mutex.acquire(signal);
  const leaving = new AbortController();
  const left = assert.rejects(mutex.acquire(leaving.signal), /left/);
  await assert.rejects(mutex.acquire(signal), { code: 'too_many_calls' });
  leaving.abort(new Error('left'));
  await left;
});

test('a keyed mutex keeps those of one key apart and lets other keys run', async () => {
  const mutex = createKeyedMutex();
  const end = Promise.withResolvers<void>();
  const begun: string[] = [];
  const run = (name: string, key: string): Promise<void> =>
    mutex.run(key, signal, async () => {
      begun.push(name);
      await end.promise;
    });
  const all = [run('a1', 'a'), run('a2', 'a'), run('b1', 'b')];
  await turns();
  assert.deepEqual(begun, ['a1', 'b1']);
  end.resolve();
  await Promise.all(all);
  await mutex.idle();
  assert.deepEqual(begun, ['a1', 'b1', 'a2']);
});
