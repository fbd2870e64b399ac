/** The wake gate by itself. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { createManualClock, type ManualClock } from '../../shared/wait/testing/manual-clock.ts';
import type { Call } from '../call/call.ts';
import { App } from '../table/apps.ts';
import { lonelyCall } from '../testing/attempt.ts';
import { asleep, ready, routeOf } from '../testing/router.ts';
import { provenMs, WakeGate } from './wake-gate.ts';

interface Rig {
  readonly clock: ManualClock;
  readonly gate: WakeGate;
  readonly did: string[];
  readonly call: (userAgent?: string) => Call;
}

function rig(): Rig {
  const clock = createManualClock();
  const did: string[] = [];
  const gate = new WakeGate({
    clock,
    local: { send: (_call, { status }) => void did.push(`answered ${status}`) },
    waiting: { answers: () => false, takes: () => false, refused: () => undefined },
    metrics: {
      wakeAnswered: (app, rule) => void did.push(`rule ${rule} of ${app}`),
      wakeRefused: () => void did.push('over budget'),
    },
  });
  const call = (userAgent = 'curl/8'): Call =>
    lonelyCall(`GET /a HTTP/1.1\r\nHost: h\r\nUser-Agent: ${userAgent}\r\n\r\n`, did, clock);
  return { clock, gate, did, call };
}

test('a probe gets its static answer and does not wake the app; another call goes on to the hold', () => {
  const { gate, did, call } = rig();
  const app = new App(routeOf('a', asleep), 0);
  const probe = call('kube-probe/1.30');
  assert.ok(gate.answers(probe, app));
  assert.ok(probe.passive);
  assert.deepEqual(did.splice(0), ['rule default of a', 'answered 200']);
  assert.equal(gate.answers(call(), app), false);
  assert.deepEqual(did, []);
});

test('an app over its wake budget refuses calls until the time that the agent gave, or until another push', () => {
  const { clock, gate, did, call } = rig();
  const app = new App(routeOf('a', asleep), 0);
  const error = new AppError('wake_budget_exhausted', 'over', { retryAfterMs: 5_000 });
  assert.equal(gate.refused(app, 2, error), undefined, 'of another version');
  for (const end of [() => clock.advance(1), () => void (app.route = routeOf('a', asleep))]) {
    assert.equal(gate.refused(app, 1, error)?.code, 'wake_budget_exhausted');
    clock.advance(4_999);
    assert.ok(gate.answers(call(), app));
    assert.deepEqual(did.splice(0), ['over budget', 'refused wake_budget_exhausted']);
    end();
    assert.equal(gate.answers(call(), app), false);
  }
});

test('of the calls of a ready app, one is checked now and then whether it keeps the app awake', () => {
  const { clock, gate, call } = rig();
  const app = new App(routeOf('a', ready()), 0);
  const probe = call('kube-probe/1.30');
  gate.prove(probe, app);
  assert.deepEqual([probe.passive, app.provenAtMs], [true, -Infinity]);
  const real = call();
  gate.prove(real, app);
  assert.deepEqual([real.passive, app.provenAtMs], [false, clock.nowMs()]);
  clock.advance(provenMs + 1);
  assert.ok(call().arrivedMs - app.provenAtMs > provenMs);
  assert.deepEqual([gate.mayStart(call(), app), gate.mayStart(probe, app)], [true, false]);
});
