import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLineQueue } from './line-queue.ts';

test('writers wait while the queue is full, and nothing is lost', async () => {
  const queue = createLineQueue<number>({ limit: 2 });
  let written = 0;
  const writing = (async () => {
    for (let line = 0; line < 10; line += 1) {
      await queue.push(line);
      written += 1;
    }
    queue.end();
  })();
  await Promise.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(written, 2);
  const read: number[] = [];
  for await (const line of queue.lines()) read.push(line);
  await writing;
  assert.deepEqual(read, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test('an end sets waiting writers and the reader free', async () => {
  const queue = createLineQueue<number>({ limit: 1 });
  await queue.push(1);
  const stuck = queue.push(2);
  queue.end();
  await stuck;
  const read: number[] = [];
  for await (const line of queue.lines()) read.push(line);
  assert.deepEqual(read, [1]);
});
