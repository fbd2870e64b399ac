import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Backlog, Backlogs } from './backlog.ts';
import { Deadlines } from './deadlines.ts';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';

function ground(onCut: () => void = () => undefined) {
  const clock = createShiftedClock();
  const deadlines = new Deadlines(clock);
  return { clock, all: new Backlogs({ maxBytes: 1_000_000, partBytes: 65_536, clock, deadlines, onCut }) };
}

function socket() {
  const made = {
    destroyed: false,
    destroy: () => made,
    resetAndDestroy: () => {
      made.destroyed = true;
    },
  };
  return made;
}

test('as the whole fills, each stream may have less, and when it is full nothing more than sockets tell of', () => {
  const all = ground().all;
  const streams = Array.from({ length: 20 }, () => new Backlog(all, socket()));
  assert.equal(streams[0]?.update(65_536), false);
  assert.equal(streams[0]?.update(65_537), true);
  const parts: number[] = [];
  for (const stream of streams) {
    stream.update(50_000);
    parts.push(all.partBytes);
  }
  assert.equal(parts[0], 65_536);
  assert.equal(parts[12], 16_384);
  assert.equal(parts[16], 4_096);
  assert.equal(parts[19], 1_024);
  assert.equal(all.full, true);
  for (const stream of streams) stream.update(0);
  assert.equal(all.bytes, 0);
  assert.equal(all.waiting, 0);
  assert.equal(all.full, false);
  assert.equal(all.partBytes, 65_536);
  all.close();
});

test('over the limit those are cut off that have waited longest without taking all', async () => {
  let cut = 0;
  const { all } = ground(() => (cut += 1));
  const sockets = Array.from({ length: 30 }, socket);
  const streams = sockets.map((one) => new Backlog(all, one));
  for (const stream of streams) stream.update(45_000);
  // The first one takes what there is, and gets more: it is the last of all now.
  streams[0]?.update(0);
  streams[0]?.update(45_000);
  await new Promise(setImmediate);
  assert.equal(cut, 8);
  assert.deepEqual(
    sockets.map(({ destroyed }) => destroyed),
    sockets.map((_, i) => i >= 1 && i <= 8),
  );
  all.close();
});

test('when it has been full for a moment, those that took nothing meanwhile make room', () => {
  let cut = 0;
  const { all, clock } = ground(() => (cut += 1));
  const sockets = Array.from({ length: 20 }, socket);
  const streams = sockets.map((one) => new Backlog(all, one));
  for (const stream of streams) stream.update(50_000);
  assert.equal(all.full, true);
  clock.advance(1_900);
  for (const stream of streams.slice(0, 10)) {
    stream.update(0);
    stream.update(50_000);
  }
  clock.advance(300);
  assert.equal(cut, 5);
  assert.deepEqual(
    sockets.map(({ destroyed }) => destroyed),
    sockets.map((_, i) => i >= 10 && i < 15),
  );
  for (const stream of streams) stream.close();
  assert.equal(all.bytes, 0);
  all.close();
});

test('while more than half is in use, those that have not taken all for ten seconds go, until it is half', () => {
  // Broke: stalled readers between 75 % and 100 % stayed for minutes, and everybody else had a sixteenth of a part.
  let cut = 0;
  const { all, clock } = ground(() => (cut += 1));
  const streams: Backlog[] = [];
  for (let count = 0; count < 16; count += 1) {
    const reader = socket();
    const stream = new Backlog(all, { ...reader, resetAndDestroy: () => stream.close() });
    streams.push(stream);
    stream.update(50_000);
  }
  assert.deepEqual([all.full, all.partBytes], [false, 4_096]);
  clock.advance(9_900);
  assert.equal(cut, 0);
  // It goes on taking what there is.
  streams[0]?.update(0);
  streams[0]?.update(50_000);
  clock.advance(300);
  assert.equal(cut, 6);
  assert.equal(streams[0]?.bytes, 50_000);
  assert.deepEqual([all.bytes, all.partBytes], [500_000, 65_536]);
  clock.advance(60_000);
  assert.equal(cut, 6);
  all.close();
});
