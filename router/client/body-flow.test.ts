import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import type { RequestSink } from '../call/client-side.ts';
import { BodyFlow, slackMs, type BodyLimits } from './body-flow.ts';

const limits = { bodyStallMs: 100, bodyTimeoutMs: 1_000, bodyBytesPerSec: 0, appStallMs: 5_000 };
const bytes = Buffer.from('body');

function setUp(more = true, given: BodyLimits = limits) {
  const clock = createManualClock(0);
  const heard: string[] = [];
  let answered = false;
  const sink: RequestSink = {
    requestBody(_bytes, start, end, last) {
      heard.push(`${start}-${end}${last === undefined ? '' : ' end'}`);
      return more;
    },
    requestFault: ({ code }) => void heard.push(code),
    clientDrained: () => undefined,
    get answering() {
      return answered;
    },
  };
  const flow = new BodyFlow({ pause: () => void heard.push('pause') }, given, clock);
  return { clock, heard, sink, flow, beginAnswer: () => void (answered = true) };
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
  const flow = new BodyFlow({ pause: () => undefined }, { ...limits, bodyTimeoutMs: 0 }, clock);
  clock.advance(5_000);
  flow.start(setUp().sink);
  assert.equal(flow.deadlineMs, 5_100);
  flow.stop();
  assert.equal(flow.deadlineMs, Infinity);
});

const defaults: BodyLimits = { bodyStallMs: 60_000, bodyTimeoutMs: 0, bodyBytesPerSec: 500, appStallMs: 300_000 };

/** Sends parts of this size at this interval, as long as no deadline passes. @returns for how long that went well. */
function sendFor(totalMs: number, part: { readonly bytes: number; readonly everyMs: number }) {
  const ground = setUp(true, defaults);
  const { clock, flow, sink } = ground;
  flow.start(sink);
  const buffer = Buffer.alloc(part.bytes);
  while (clock.nowMs() < totalMs) {
    const nextMs = clock.nowMs() + part.everyMs;
    if (flow.deadlineMs <= nextMs) {
      clock.advance(flow.deadlineMs - clock.nowMs());
      flow.timeOut();
      if (flow.done) break;
    }
    clock.advance(nextMs - clock.nowMs());
    flow.pass(buffer, 0, part.bytes, undefined);
  }
  return ground;
}

test('an upload of 200 kB/s lives for seven minutes and for a day', () => {
  for (const totalMs of [7 * 60_000, 24 * 3_600_000]) {
    const { heard, flow } = sendFor(totalMs, { bytes: 200_000, everyMs: 1_000 });
    assert.deepEqual([flow.done, heard.includes('request_timeout')], [false, false]);
  }
});

test('an upload with a part of 64 KiB each fifty seconds lives', () => {
  assert.equal(sendFor(3_600_000, { bytes: 65_536, everyMs: 50_000 }).flow.done, false);
});

test('a body that trickles in ends after the slack, whatever was sent before counts for no more than that', () => {
  const { clock, heard, flow } = sendFor(3_600_000, { bytes: 1, everyMs: 10_000 });
  assert.deepEqual([flow.done, heard.at(-1)], [true, 'request_timeout']);
  assert.ok(clock.nowMs() >= slackMs && clock.nowMs() < slackMs + 1_000, `${clock.nowMs()}`);
  const late = setUp(true, defaults);
  late.flow.start(late.sink);
  late.flow.pass(Buffer.alloc(10_000_000), 0, 10_000_000, undefined);
  for (let seconds = 0; seconds < slackMs / 1_000 - 1; seconds += 1) {
    late.clock.advance(1_000);
    late.flow.pass(bytes, 0, 1, undefined);
  }
  assert.ok(late.flow.deadlineMs - late.clock.nowMs() < 2_000);
});

test('a client that sends nothing for a stall is late, also on a stream both ways', () => {
  const { clock, heard, sink, flow, beginAnswer } = setUp(true, defaults);
  flow.start(sink);
  beginAnswer();
  assert.equal(flow.deadlineMs, 60_000);
  clock.advance(60_000);
  flow.timeOut();
  assert.deepEqual([flow.done, heard], [true, ['request_timeout']]);
});

test('once the answer has begun a body may arrive slowly for as long as it likes', () => {
  const { clock, heard, sink, flow, beginAnswer } = setUp(true, defaults);
  flow.start(sink);
  beginAnswer();
  for (let minute = 0; minute < 120; minute += 1) {
    clock.advance(30_000);
    if (clock.nowMs() >= flow.deadlineMs) flow.timeOut();
    flow.pass(bytes, 0, 4, undefined);
  }
  assert.deepEqual([flow.done, heard.includes('request_timeout')], [false, false]);
});

test('the time in which the app does not read counts against the app, not against its client', () => {
  const { clock, heard, sink, flow } = setUp(false, defaults);
  flow.start(sink);
  for (let count = 0; count < 10; count += 1) {
    clock.advance(1_000);
    flow.pass(bytes, 0, 1, undefined);
    assert.equal(flow.deadlineMs, clock.nowMs() + 300_000);
    clock.advance(299_000);
    flow.awaitMore();
    assert.equal(flow.deadlineMs, clock.nowMs() + 60_000);
  }
  flow.pass(bytes, 0, 1, undefined);
  clock.advance(300_000);
  flow.timeOut();
  assert.deepEqual([flow.done, heard.at(-1)], [true, 'upstream_timeout']);
});
