import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { once } from 'node:events';
import { test } from 'node:test';
import { LogRing, ofVersion, readLines } from './log-ring.ts';

const push = (ring: LogRing, ...lines: string[]): void => {
  for (const line of lines) ring.push({ instance: 'a', version: 1, line });
};

void test('the ring keeps the last lines within both bounds', () => {
  const ring = new LogRing({ maxLines: 3, maxChars: 10 });
  push(ring, 'a', 'b', 'c', 'd');
  assert.deepEqual(
    ring.last(10).map(({ line }) => line),
    ['b', 'c', 'd'],
  );
  push(ring, '123456789');
  assert.deepEqual(
    ring.last(10).map(({ line }) => line),
    ['d', '123456789'],
  );
  push(ring, 'longer than the whole ring');
  assert.deepEqual(
    ring.last(10).map(({ line }) => line),
    ['longer than the whole ring'],
  );
});

void test('last takes the tail of one version, from a position on', () => {
  const ring = new LogRing();
  push(ring, 'before');
  const since = ring.position;
  push(ring, 'one');
  ring.push({ instance: 'b', version: 2, line: 'other' });
  push(ring, 'two');
  assert.deepEqual(
    ring.last(9, { matches: ofVersion(1), since }).map(({ line }) => line),
    ['one', 'two'],
  );
  assert.deepEqual(
    ring.last(1, { matches: ofVersion(1) }).map(({ line }) => line),
    ['two'],
  );
});

void test('a follower that is too slow gets the number of lost lines, and the ring does not grow', async () => {
  const ring = new LogRing({ maxLines: 3 });
  push(ring, 'first');
  const lines = ring.follow(10, new AbortController().signal);
  assert.equal((await lines.next()).value?.line, 'first');
  push(ring, 'second');
  assert.equal((await lines.next()).value?.line, 'second');
  push(ring, ...Array.from({ length: 100 }, (_, index) => `line ${index}`));
  assert.match((await lines.next()).value?.line ?? '', /97 lines were lost/);
  assert.equal((await lines.next()).value?.line, 'line 97');
  ring.end();
  assert.equal((await lines.next()).value?.line, 'line 98');
  assert.equal((await lines.next()).value?.line, 'line 99');
  assert.equal((await lines.next()).done, true);
});

void test('a follower ends at its signal while it waits', async () => {
  const ring = new LogRing();
  const stop = new AbortController();
  const next = ring.follow(0, stop.signal).next();
  stop.abort();
  assert.equal((await next).done, true);
});

void test('lines are cut at their ends, whatever the chunks; long ones are cut in pieces', async () => {
  const stream = new PassThrough();
  const lines: string[] = [];
  readLines(stream, (line) => lines.push(line));
  const euro = Buffer.from('€');
  stream.write('one\r\ntw');
  stream.write('o\n\nthree ');
  stream.write(euro.subarray(0, 1));
  stream.write(euro.subarray(1));
  stream.write(`\n${'x'.repeat(40_000)}\nno end`);
  stream.end();
  await once(stream, 'close');
  assert.deepEqual(lines.slice(0, 4), ['one', 'two', '', 'three €']);
  assert.deepEqual(
    lines.slice(4, -1).map((line) => line.length),
    [16_384, 16_384, 7_232],
  );
  assert.equal(lines.at(-1), 'no end');
});
