import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import type { RequestSink } from '../call/client-side.ts';
import { BodyFlow } from './body-flow.ts';

const limits = { bodyStallMs: 100, bodyTimeoutMs: 1_000 };
const bytes = Buffer.from('body');

function setUp(more = true) {
  const clock = createManualClock(0);
  const heard: string[] = [];
  const sink: RequestSink = {
    requestBody(_bytes, start, end, last) {
      heard.push(`${start}-${end}${last === undefined ? '' : ' end'}`);
      return more;
    },
    requestFault: ({ code }) => void heard.push(code),
    clientDrained: () => undefined,
  };
  const flow = new BodyFlow({ pause: () => void heard.push('pause') }, limits, clock);
  return { clock, heard, sink, flow };
}

test('a client has to send more before the stall, and all before the timeout', () => {
  const { clock, heard, sink, flow } = setUp();
  flow.start(sink);
  assert.equal(flow.deadlineMs, 100);
  for (let count = 0; count < 19; count += 1) {
    clock.advance(50);
    assert.equal(flow.pass(bytes, 0, 4, undefined), true);
  }
  assert.equal(flow.deadlineMs, 1_000);
  flow.timeOut();
  assert.deepEqual([flow.done, flow.deadlineMs, heard.at(-1)], [true, Infinity, 'request_timeout']);
});

test('while the app is slow the source pauses, and its client is late only at the timeout', () => {
  const { clock, heard, sink, flow } = setUp(false);
  flow.start(sink);
  clock.advance(50);
  assert.equal(flow.pass(bytes, 0, 4, undefined), false);
  assert.deepEqual([heard, flow.deadlineMs], [['0-4', 'pause'], 1_000]);
  clock.advance(500);
  flow.awaitMore();
  assert.equal(flow.deadlineMs, 650);
});

test('after the last part the source is not paused and the client is not late', () => {
  const { heard, sink, flow } = setUp(false);
  flow.start(sink);
  flow.pass(bytes, 0, 4, 'no trailers');
  assert.deepEqual([heard, flow.done, flow.deadlineMs], [['0-4 end'], true, Infinity]);
});

test('a fault that is found while nobody takes the body reaches the next sink', () => {
  const { heard, sink, flow } = setUp();
  flow.fault(new AppError('headers_too_large', 'too large'));
  assert.deepEqual(heard, []);
  flow.start(sink);
  assert.deepEqual([heard, flow.deadlineMs], [['headers_too_large'], Infinity]);
});

test('without a limit for the whole body only the stall counts', () => {
  const clock = createManualClock(0);
  const flow = new BodyFlow({ pause: () => undefined }, { bodyStallMs: 100, bodyTimeoutMs: 0 }, clock);
  clock.advance(5_000);
  flow.start(setUp().sink);
  assert.equal(flow.deadlineMs, 5_100);
  flow.stop();
  assert.equal(flow.deadlineMs, Infinity);
});
