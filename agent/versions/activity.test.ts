import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createActivityLog } from './activity.ts';

const busy = { app: 'a', held: 0, inFlight: 1, upgraded: 0, calls: 1, bytes: 0, idleMs: 0 };

test('an app is busy while any router says so, and an app that a report leaves out is not', () => {
  const log = createActivityLog({ now: () => 1_000 });
  log.report('one', [busy]);
  log.report('two', []);
  assert.deepEqual(log.of('a'), { busy: true, lastMs: 1_000 });
  log.report('one', []);
  assert.deepEqual(log.of('a'), { busy: false, lastMs: 1_000 });
});

test('a router that is gone keeps no app busy, and what it last saw still counts', () => {
  const log = createActivityLog({ now: () => 1_000 });
  log.report('one', [busy]);
  log.forget('one');
  log.report('two', [{ ...busy, inFlight: 0, idleMs: 500 }]);
  assert.deepEqual(log.of('a'), { busy: false, lastMs: 1_000 });
});
