import assert from 'node:assert/strict';
import { test } from 'node:test';
import { turns } from '../../shared/wait/testing/until.ts';
import { BuildLog } from './build-log.ts';

const never = new AbortController().signal;

test('the last 200 lines are kept, each of at most 4 KiB, and no more bytes than are good', () => {
  const log = new BuildLog();
  for (let i = 0; i < 1_000; i += 1) log.push(`line ${i}`);
  assert.equal(log.last(1_000).length, 200);
  assert.equal(log.last(1)[0], 'line 999');
  assert.deepEqual(log.last(0), []);
  log.push('é'.repeat(10_000));
  assert.equal(Buffer.byteLength(log.last(1)[0]!), 4_096);
  log.push('x'.repeat(4_095) + 'é');
  assert.equal(log.last(1)[0], 'x'.repeat(4_095));
  for (let i = 0; i < 200; i += 1) log.push('x'.repeat(4_096));
  assert.ok(log.last(200).join('').length <= 256 * 1_024);
  log.push('a\0b');
  assert.equal(log.last(1)[0], 'ab'); // Postgres takes none
});

test('a reader that is too slow is told how much it has missed', async () => {
  const log = new BuildLog();
  const seen: string[] = [];
  const gate = Promise.withResolvers<void>();
  const reading = (async () => {
    for await (const line of log.follow(10, never)) {
      seen.push(line);
      if (seen.length === 1) await gate.promise;
    }
  })();
  log.push('first');
  await turns(2);
  for (let i = 0; i < 500; i += 1) log.push(`line ${i}`);
  gate.resolve();
  await turns(2);
  log.end();
  await reading;
  assert.equal(seen[1], '… 300 lines left out: they came faster than they were read');
  assert.equal(seen[2], 'line 300');
  assert.equal(seen.length, 202);
});

test('who follows gets the tail, what comes, and the end; the signal ends it before', async () => {
  const log = new BuildLog();
  for (const line of ['a', 'b', 'c']) log.push(line);
  const leave = new AbortController();
  const [all, left]: [string[], string[]] = [[], []];
  const readers = [
    (async () => {
      for await (const line of log.follow(2, never)) all.push(line);
    })(),
    (async () => {
      for await (const line of log.follow(0, leave.signal)) left.push(line);
    })(),
  ];
  await turns(2);
  leave.abort();
  await turns(2);
  log.push('d');
  log.end();
  log.push('after the end');
  await Promise.all(readers);
  assert.deepEqual(all, ['b', 'c', 'd']);
  assert.deepEqual(left, []);
});
