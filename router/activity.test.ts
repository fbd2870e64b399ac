import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../shared/wait/clock.ts';
import { Activity } from './activity.ts';
import { App } from './table/apps.ts';
import { asleep, routeOf } from './testing/router.ts';

function appsOf(count: number): App[] {
  return Array.from({ length: count }, (_, i) => new App(routeOf(`a${i}`, asleep), 0));
}

function call(activity: Activity, app: App): void {
  if (app.calls === 0) activity.note(app);
  app.calls += 1;
}

test('only apps that did something are looked at for a report, and none twice that has ended', () => {
  const activity = new Activity({ apps: new Map(), hold: { heldOf: () => 0 }, clock: systemClock });
  const [a, b] = appsOf(1_000);
  assert.ok(a !== undefined && b !== undefined);
  call(activity, a);
  call(activity, b);
  b.inFlight = 1;
  assert.equal(activity.size, 2);
  const report = activity.collect();
  call(activity, a);
  report.taken();
  assert.deepEqual(
    activity.collect().apps.map(({ app, calls, inFlight }) => [app, calls, inFlight]),
    [
      ['a0', 1, 0],
      ['a1', 0, 1],
    ],
  );
  activity.collect().taken();
  b.inFlight = 0;
  activity.collect().taken();
  assert.equal(activity.size, 0);
});

test('a report that is not taken is told again', () => {
  const activity = new Activity({ apps: new Map(), hold: { heldOf: () => 0 }, clock: systemClock });
  const [a] = appsOf(1);
  assert.ok(a !== undefined);
  call(activity, a);
  activity.collect();
  call(activity, a);
  assert.equal(activity.collect().apps[0]?.calls, 2);
});

test('a report that is too large for a frame is told in parts, each app once', () => {
  const activity = new Activity({ apps: new Map(), hold: { heldOf: () => 0 }, clock: systemClock });
  const apps = appsOf(25_000);
  for (const app of apps) {
    call(activity, app);
    app.inFlight = 1;
  }
  for (let round = 0; round < 2; round += 1) {
    const told: string[] = [];
    for (const more of [true, true, false]) {
      const part = activity.collect();
      assert.equal(part.more, more);
      told.push(...part.apps.map(({ app }) => app));
      part.taken();
    }
    assert.equal(told.length, 25_000);
    assert.equal(new Set(told).size, 25_000);
  }
});
