import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { Backlogs } from '../io/backlog.ts';
import { Deadlines } from '../io/deadlines.ts';
import { PendingOutput } from './pending-output.ts';

const partBytes = 2_000;

function setUp() {
  const clock = createManualClock(0);
  const deadlines = new Deadlines(clock);
  const backlogs = new Backlogs({ maxBytes: 100_000, partBytes, clock, deadlines, onCut: () => undefined });
  let taken: () => void = () => undefined;
  const client = new Writable({ highWaterMark: 1_000, write: (_chunk, _encoding, done) => void (taken = done) });
  const take = async (): Promise<void> => {
    taken();
    await new Promise(setImmediate);
  };
  return { backlogs, client, take, pending: new PendingOutput(client, backlogs) };
}

test('a client is behind when more than its part waits', async () => {
  const { backlogs, client, take, pending } = setUp();
  client.write(Buffer.alloc(1_500));
  assert.deepEqual([pending.update(), pending.bytes], [false, 1_500]);
  client.write(Buffer.alloc(1_500));
  assert.deepEqual([pending.update(), pending.bytes], [true, 3_000]);
  assert.ok(backlogs.bytes >= 3_000);
  await take();
  await take();
  assert.deepEqual([pending.update(), pending.bytes, backlogs.bytes], [false, 0, 0]);
});

test('a client stalls from when it was last seen to take something', async () => {
  const { client, take, pending } = setUp();
  assert.equal(pending.stalledMs(1_000), 0);
  client.write('first');
  client.write('second');
  assert.equal(pending.stalledMs(2_000), 0);
  assert.equal(pending.stalledMs(2_500), 500);
  await take();
  assert.equal(pending.stalledMs(3_000), 0);
  assert.equal(pending.stalledMs(3_700), 700);
  await take();
  assert.equal(pending.stalledMs(9_000), 0);
});

test('a closed stream no longer counts', () => {
  const { backlogs, client, pending } = setUp();
  client.write(Buffer.alloc(500));
  pending.update();
  assert.ok(backlogs.bytes > 0);
  pending.close();
  assert.equal(backlogs.bytes, 0);
});
