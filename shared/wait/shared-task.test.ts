import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { SharedTask } from './shared-task.ts';

const never = new AbortController().signal;

void test('all who wait get the end of one piece of work', async () => {
  let runs = 0;
  const end = Promise.withResolvers<void>();
  const task = new SharedTask(() => {
    runs += 1;
    return end.promise;
  });
  const joined = [task.join(never), task.join(never)];
  end.resolve();
  await Promise.all(joined);
  assert.equal(runs, 1);
});

void test('one that leaves does not end the work; the last one does, and waits until it is undone', async () => {
  const [first, second] = [new AbortController(), new AbortController()];
  const steps: string[] = [];
  const task = new SharedTask(async (signal) => {
    await once(signal, 'abort');
    steps.push('aborted');
    await Promise.resolve();
    steps.push('undone');
    signal.throwIfAborted();
  });
  const [one, two] = [task.join(first.signal), task.join(second.signal)];
  first.abort();
  await assert.rejects(one, { code: 'cancelled' });
  assert.deepEqual([steps, task.aborted], [[], false]);
  second.abort();
  await assert.rejects(two, { code: 'cancelled' });
  assert.deepEqual([steps, task.aborted], [['aborted', 'undone'], true]);
  await task.settled;
});

void test('abort tells everyone its reason', async () => {
  const task = new SharedTask(async (signal) => {
    await once(signal, 'abort');
    signal.throwIfAborted();
  });
  const joined = assert.rejects(task.join(never), /because/);
  await task.abort(new Error('because'));
  await joined;
});

void test('a failure that nobody waits for is no unhandled rejection', async () => {
  const task = new SharedTask(() => Promise.reject(new Error('failed')));
  await task.settled;
  await assert.rejects(task.join(never), /failed/);
});

void test('work of its creator goes on when the last one has left', async () => {
  const end = Promise.withResolvers<string>();
  const task = new SharedTask(() => end.promise, { owner: 'creator' });
  const leaving = new AbortController();
  const left = assert.rejects(task.join(leaving.signal), { code: 'cancelled' });
  leaving.abort();
  await left;
  assert.equal(task.aborted, false);
  end.resolve('done');
  assert.equal(await task.join(never), 'done');
});

void test('who joins late is told the last progress first', async () => {
  const end = Promise.withResolvers<void>();
  const task = new SharedTask<void, string>(() => end.promise);
  const told: string[] = [];
  task.progress('missed');
  task.progress('first');
  const joined = task.join(never, (progress) => told.push(progress));
  task.progress('second');
  end.resolve();
  await joined;
  task.progress('too late');
  assert.deepEqual(told, ['first', 'second']);
});

void test('the last one need not wait for the undoing', async () => {
  const undone = Promise.withResolvers<void>();
  const task = new SharedTask(() => undone.promise, { waitsForUndo: false });
  const leaving = new AbortController();
  const left = assert.rejects(task.join(leaving.signal), { code: 'cancelled' });
  leaving.abort();
  await left;
  assert.equal(task.abandoned, true);
  undone.resolve();
  await task.settled;
});

void test('work that is aborted before it begins never begins', async () => {
  let runs = 0;
  const task = new SharedTask(async () => {
    runs += 1;
  });
  await task.abort(new Error('because'));
  await assert.rejects(task.join(never), /because/);
  assert.equal(runs, 0);
});
