import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ActivityLog, type IdleRule } from './activity.ts';

const still = { app: 'a', held: 0, inFlight: 0, upgraded: 0, calls: 0, bytes: 0, idleMs: 0 };
const busy = { ...still, inFlight: 1, calls: 1 };
const used = { ...still, calls: 1, bytes: 2_000 };
const everyCall: IdleRule = { periodMs: 10_000, watermarkBytes: 0 };

function ground(rule: IdleRule = { periodMs: 10_000, watermarkBytes: 1_500 }) {
  const state = { nowMs: 1_000_000 };
  const log = new ActivityLog({ now: () => state.nowMs, ruleOf: (app) => (app === 'gone' ? undefined : rule) });
  /** Reports of a router that has nothing to say. */
  const pass = (ms: number, router = 'one'): void => {
    for (let left = ms; left > 0; left -= 1_000) {
      state.nowMs += Math.min(1_000, left);
      log.report(router, []);
    }
  };
  return { state, log, pass };
}

test('an app is busy while any router says so, and one that a report leaves out is not', () => {
  const { log, pass } = ground();
  log.report('one', [busy]);
  log.report('two', []);
  assert.equal(log.busy('a'), true);
  assert.equal(log.idle('a'), false);
  pass(20_000, 'two');
  assert.equal(log.idle('a'), false);
  log.report('one', []);
  assert.equal(log.busy('a'), false);
  assert.equal(log.idle('a'), true);
});

test('an app is not idle without a router, nor for a period after the first report', () => {
  const { log, pass, state } = ground();
  state.nowMs += 60_000;
  assert.equal(log.idle('a'), false);
  log.report('one', []);
  pass(9_999);
  assert.equal(log.idle('a'), false);
  pass(1);
  assert.equal(log.idle('a'), true);
  log.forget('one');
  assert.equal(log.idle('a'), false);
  pass(9_000, 'two');
  assert.equal(log.idle('a'), false);
});

test('bytes of all routers within the period count together, and those before it do not', () => {
  const { log, pass } = ground();
  log.report('one', []);
  log.report('two', []);
  pass(20_000);
  log.report('one', [{ ...used, bytes: 800 }]);
  assert.equal(log.idle('a'), true);
  pass(5_000);
  log.report('two', [{ ...used, bytes: 800 }]);
  assert.equal(log.idle('a'), false);
  pass(4_999);
  assert.equal(log.idle('a'), false);
  pass(1);
  assert.equal(log.idle('a'), true, 'the first 800 are over');
});

test('calls of an uptime monitor do not keep an app awake, unless every call is to', () => {
  for (const [rule, idle] of [
    [undefined, true],
    [everyCall, false],
  ] as const) {
    const { log, pass } = ground(rule);
    log.report('one', []);
    for (let minute = 0; minute < 10; minute += 1) {
      pass(4_000);
      log.report('one', [{ ...used, bytes: 300 }]);
    }
    assert.equal(log.idle('a'), idle);
  }
});

test('a steady stream of small calls is summed up, in a bounded number of parts', () => {
  const { log, state } = ground({ periodMs: 100_000, watermarkBytes: 10_000 });
  log.report('one', []);
  for (let report = 0; report < 10_000; report += 1) {
    state.nowMs += 100;
    log.report('one', [{ ...used, bytes: 9 }]);
  }
  assert.equal(log.idle('a'), true, '9 bytes a report are 9,000 within the period');
  for (let report = 0; report < 1_000; report += 1) {
    state.nowMs += 100;
    log.report('one', [{ ...used, bytes: 12 }]);
  }
  assert.equal(log.idle('a'), false);
});

test('a call in flight during one report does not restart the period; a long or upgraded one does', () => {
  const cases = [
    [[busy], true],
    [[busy, busy], false],
    [[{ ...still, upgraded: 1 }], false],
  ] as const;
  for (const [reports, idle] of cases) {
    const { log, pass, state } = ground();
    log.report('one', []);
    pass(20_000);
    for (const report of reports) {
      state.nowMs += 2_000;
      log.report('one', [report]);
      assert.equal(log.idle('a'), false);
    }
    state.nowMs += 2_000;
    log.report('one', [still]);
    assert.equal(log.idle('a'), idle);
    pass(10_000);
    assert.equal(log.idle('a'), true);
  }
});

test('a call that is not reported yet counts too', () => {
  const every = ground(everyCall);
  const few = ground();
  for (const { log, pass } of [every, few]) {
    log.report('one', []);
    pass(20_000);
  }
  assert.equal(every.log.idle('a', { bytes: 10, idleMs: 5_000 }), false);
  assert.equal(every.log.idle('a', { bytes: 0, idleMs: Infinity }), true);
  assert.equal(few.log.idle('a', { bytes: 10, idleMs: 5_000 }), true);
  assert.equal(few.log.idle('a', { bytes: 1_500, idleMs: 5_000 }), false);
});

test('what a router had when it was lost counts for a period from then on, and what it reported before still counts', () => {
  const { log, pass } = ground();
  log.report('two', []);
  pass(20_000, 'two');
  log.report('one', [busy, { ...used, app: 'b' }]);
  log.forget('one');
  assert.equal(log.busy('a'), false);
  pass(9_000, 'two');
  assert.deepEqual([log.idle('a'), log.idle('b')], [false, false]);
  pass(1_001, 'two');
  assert.deepEqual([log.idle('a'), log.idle('b')], [true, true]);
});

test('reports of apps that are not there are passed over', () => {
  const { log } = ground();
  log.report('one', [{ ...busy, app: 'gone' }]);
  assert.equal(log.busy('gone'), false);
});
