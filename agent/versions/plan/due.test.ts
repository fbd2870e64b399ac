import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import { dueOf, type Watched } from './due.ts';
import { DueTimer } from '../due-timer.ts';

const timings = { buildMs: null, rolloutMs: null };
const serving = { kind: 'serving', timings } as const;
const asleep: Watched = {
  phase: { kind: 'asleep' },
  starting: false,
  hasPending: false,
  hasLeftovers: false,
  keptAwake: undefined,
  hasHours: false,
  idleMs: 10_000,
  sinceMs: 0,
  nowMs: 20_000,
  isIdle: () => true,
};
const awake: Watched = { ...asleep, phase: serving };

test('an app that is asleep, or never goes to zero, is not looked at until it changes', () => {
  assert.equal(dueOf(asleep).next, 'change');
  assert.equal(dueOf({ ...awake, idleMs: 0 }).next, 'change');
  assert.equal(dueOf({ ...awake, keptAwake: 'min_replicas' }).next, 'change');
  assert.equal(dueOf({ ...awake, starting: true }).next, 'change');
});

test('an app that is awake is looked at until it was idle for its whole period', () => {
  assert.deepEqual(dueOf({ ...awake, nowMs: 4_000 }), { step: undefined, clear: true, next: 6_000 });
  assert.deepEqual(dueOf({ ...awake, isIdle: () => false }), { step: undefined, clear: true, next: 100 });
  assert.equal(dueOf({ ...awake, nowMs: 4_000, hasLeftovers: true }).next, 0);
  assert.equal(dueOf(awake).step, 'zero');
});

test('an app that is kept awake is started when it does not run, also its pending version, and never goes to zero', () => {
  assert.equal(dueOf({ ...asleep, keptAwake: 'min_replicas' }).step, 'start');
  assert.equal(dueOf({ ...awake, keptAwake: 'min_replicas' }).step, undefined);
  assert.equal(dueOf({ ...awake, keptAwake: 'min_replicas', hasPending: true }).step, 'start');
});

test('running hours are looked at each minute, asleep or awake', () => {
  assert.equal(dueOf({ ...asleep, hasHours: true }).next, 'minute');
  assert.equal(dueOf({ ...awake, hasHours: true, keptAwake: 'running_hours' }).next, 'minute');
});

test('versions that are left over of an app that is asleep go when it is idle', () => {
  assert.deepEqual(dueOf({ ...asleep, hasLeftovers: true }), { step: undefined, clear: true, next: 100 });
  assert.equal(dueOf({ ...asleep, hasLeftovers: true, nowMs: 3_000 }).next, 7_000);
  assert.equal(dueOf({ ...asleep, hasLeftovers: true, isIdle: () => false }).clear, false);
});

test('the cost depends on what is due: 10,000 apps at rest are not looked at, and one that changes is', (t) => {
  const clock = createManualClock();
  const looked: string[] = [];
  let wallMs = 0;
  const looks = new DueTimer({
    clock,
    wallMs: () => wallMs,
    look: (app) => {
      looked.push(app);
      if (app === 'awake') return 0;
      if (app === 'busy') return 5_000;
      return app.startsWith('hours') ? 'minute' : 'change';
    },
  });
  looks.start();
  t.after(() => looks.close());
  for (let app = 0; app < 10_000; app += 1) looks.changed(`a${app}`);
  for (const app of ['hours', 'awake']) looks.changed(app);
  clock.advance(500);
  assert.equal(looked.length, 10_002);
  looked.length = 0;
  clock.advance(1_000);
  assert.deepEqual(looked, ['awake', 'awake']);
  looks.changed('a7');
  clock.advance(500);
  assert.deepEqual(looked.slice(2), ['awake', 'a7']);
  looked.length = 0;
  for (let change = 0; change < 100; change += 1) {
    looks.changed('busy');
    clock.advance(500);
  }
  looked.length = 0;
  clock.advance(20_000);
  assert.equal(looked.filter((app) => app === 'busy').length, 4, 'looks that were overtaken are not made');
  looked.length = 0;
  wallMs = 60_000;
  clock.advance(500);
  assert.deepEqual(looked.toSorted(), ['awake', 'hours']);
});
