/** The hold by itself: no server, no agent, and time that stands still. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { holdLimitOfRouter, type Route } from '../../shared/protocol/routes.ts';
import { createManualClock, type ManualClock } from '../../shared/wait/testing/manual-clock.ts';
import type { Call } from '../call/call.ts';
import { App } from '../table/apps.ts';
import { lonelyCall, targetNamed } from '../testing/attempt.ts';
import { asleep, ready, routeOf } from '../testing/router.ts';
import { Hold } from './hold.ts';
import { UnpushedFailures } from './unpushed-failures.ts';

interface Rig {
  readonly clock: ManualClock;
  readonly hold: Hold;
  readonly app: App;
  readonly agent: { up: boolean; trusted: boolean };
  /** What became of the calls, and what was asked of the agent, in order. */
  readonly did: string[];
  /** Holds another call. */
  readonly holdCall: () => Call;
  readonly push: (serving: Route['serving']) => void;
}

function rig(route: Partial<Route> = {}, maxCalls = 100): Rig {
  const clock = createManualClock();
  const did: string[] = [];
  const agent = { up: true, trusted: true };
  const hold = new Hold({
    clock,
    agent,
    maxCalls,
    ensures: { want: (app, version) => void did.push(`ensure ${app} v${version}`) },
    metrics: { holdRejected: (reason) => void did.push(`rejected: ${reason}`) },
  });
  const app = new App(routeOf('a', asleep, route), 0);
  return {
    clock,
    hold,
    app,
    agent,
    did,
    holdCall() {
      const call = lonelyCall('GET /a HTTP/1.1\r\nHost: h\r\n\r\n', did, clock);
      hold.wait(app, call);
      return call;
    },
    push(serving) {
      app.route = { ...app.route, serving };
      hold.changed(app);
    },
  };
}

test('held calls ask for the version, and are released in order when a target is there', () => {
  const { hold, app, did, holdCall, push, clock } = rig();
  holdCall();
  holdCall();
  assert.deepEqual([hold.held, hold.heldOf(app), hold.waiting(app)], [2, 2, true]);
  assert.deepEqual(did.splice(0), ['ensure a v1', 'ensure a v1']);
  app.targets = [targetNamed('t')];
  push(ready());
  assert.deepEqual(did, ['sent to t', 'sent to t']);
  assert.deepEqual([hold.held, hold.waiting(app), clock.pending], [0, false, 0]);
});

test('a call over the limit of its app, or of the router, is refused at once', () => {
  for (const [holdMaxCalls, maxCalls, reason] of [
    [1, 100, 'app_full'],
    [100, 1, 'full'],
    // Half of the hold is left to other apps.
    [holdLimitOfRouter, 2, 'app_full'],
    [holdLimitOfRouter, 1, 'app_full'],
  ] as const) {
    const { did, holdCall } = rig({ holdMaxCalls }, maxCalls);
    holdCall();
    did.length = 0;
    holdCall();
    assert.deepEqual(did, [`rejected: ${reason}`, 'refused hold_full']);
  }
});

test('a call is refused after its hold timeout, and the error says whether the agent is there', () => {
  for (const [up, reason, code] of [
    [true, 'timeout', 'hold_timeout'],
    [false, 'agent_unavailable', 'agent_unavailable'],
  ] as const) {
    const { clock, agent, hold, did, holdCall } = rig({ holdTimeoutMs: 5_000 });
    agent.up = up;
    holdCall();
    clock.advance(4_999);
    assert.equal(hold.held, 1);
    did.length = 0;
    clock.advance(1);
    assert.deepEqual(did.slice(0, 2), [`rejected: ${reason}`, `refused ${code}`]);
    assert.deepEqual([hold.held, clock.pending], [0, 0]);
  }
});

test('while the lease has run out nothing is released, and all is when it is renewed', () => {
  const { agent, app, did, hold, holdCall } = rig();
  agent.trusted = false;
  app.targets = [targetNamed('t')];
  app.route = { ...app.route, serving: ready() };
  holdCall();
  assert.deepEqual(did, []);
  agent.trusted = true;
  hold.changedAll();
  assert.deepEqual(did, ['sent to t']);
});

test('a client that leaves frees its place, and an app that is removed sends its calls to be routed again', () => {
  const { app, did, hold, holdCall } = rig();
  hold.leave(app, holdCall());
  assert.equal(hold.held, 0);
  holdCall();
  did.length = 0;
  app.routed = false;
  hold.changed(app);
  assert.deepEqual([hold.held, did], [0, ['routed again']]);
});

test('the answer to an ensure refuses calls only if no push follows it, and only those held before it', () => {
  const { clock, hold, app, did, holdCall, push } = rig();
  const failures = new UnpushedFailures({ clock, listeners: [hold] });
  const failed = new AppError('app_crashed', 'secret words of the app');
  holdCall();
  did.length = 0;
  failures.add(app, 1, failed);
  push({ state: 'hold', reason: 'starting' });
  clock.advance(1_000);
  assert.ok(!did.includes('refused app_crashed'), 'a push has followed');
  failures.add(app, 1, failed);
  clock.advance(1_000);
  assert.deepEqual(did.splice(0).slice(-1), ['refused app_crashed']);
  failures.add(app, 1, failed);
  clock.advance(1);
  holdCall();
  clock.advance(999);
  assert.deepEqual([hold.held, did], [1, ['ensure a v1']]);
  failures.add(app, 1, failed);
  failures.close();
  hold.close(new AppError('router_draining', 'over'));
  assert.deepEqual([hold.held, clock.pending], [0, 0]);
});
