/**
 * The way of a call from its route to its answer: to a ready target at once, without a promise; every other one to the gate of
 * what may wake an app, and then to the hold.
 */
import { AppError } from '../shared/errors.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { Activity } from './activity.ts';
import type { Call, CallApp, CallRouting } from './call/call.ts';
import type { ReadAhead } from './io/read-ahead.ts';
import { overloaded } from './call/refusal.ts';
import { stripsToHost } from './message/path.ts';
import { refuseFailed } from './hold/hold.ts';
import type { App } from './table/apps.ts';
import type { Table } from './table/table.ts';
import { Attempt, type AttemptDeps } from './upstream/attempt.ts';
import type { UpstreamTarget } from './upstream/target.ts';
import { provenMs, type WakeGate } from './wake/wake-gate.ts';

export interface CallPathDeps {
  readonly clock: Clock;
  readonly table: Pick<Table, 'lookup'>;
  readonly activity: Pick<Activity, 'note'>;
  readonly gate: WakeGate;
  readonly hold: {
    waiting(app: App): boolean;
    wait(app: App, call: Call): void;
    leave(app: CallApp, call: Call): void;
    changed(app: CallApp): void;
  };
  readonly readAhead: Pick<ReadAhead, 'full'>;
  readonly sending: AttemptDeps;
  /** Asks for a version that the call starts. */
  readonly want: (app: App, version: number, call: Call) => void;
  /** Whether a route table has come, ever. */
  readonly synced: () => boolean;
  /** Whether what the table says may be acted on. */
  readonly trusted: () => boolean;
  /** @param status 499 where the client left before its answer began. */
  readonly onEnded: (call: Call, status: number, durationMs: number) => void;
}

export interface CallPath extends Pick<CallRouting, 'route' | 'send' | 'ended'> {
  /** It is in flight no more, or as something else. */
  uncount(call: Call): void;
}

export function createCallPath(deps: CallPathDeps): CallPath {
  const { clock, table, activity, gate, hold, readAhead, sending, want, synced, trusted, onEnded } = deps;

  function route(call: Call): void {
    uncount(call);
    const app = table.lookup(call.host, call.head.path);
    if (app === undefined) {
      call.refuse(synced() ? noRoute() : noTableYet());
      return;
    }
    if (call.app !== app) {
      call.app = app;
      if (app.calls === 0) activity.note(app);
      app.calls += 1;
    }
    if (app.route.waitingPage === true && gate.takes(call, app)) return;
    if (stripsToHost(call.head.path, app.route)) {
      call.refuse(
        new AppError('request_invalid', 'The request is refused: an empty segment after the path of the app.'),
      );
      return;
    }
    const { serving } = app.route;
    if (serving.state === 'ready') {
      if (serving.pending !== null && app.askedPending !== serving.pending && gate.mayStart(call, app)) {
        app.askedPending = serving.pending;
        want(app, serving.pending, call);
      }
      if (call.arrivedMs - app.provenAtMs > provenMs) gate.prove(call, app);
      if (!hold.waiting(app) && trusted()) {
        const target = app.pick();
        if (target !== undefined) {
          send(call, target);
          return;
        }
      }
    } else if (serving.state === 'failed' && trusted()) {
      if (!gate.answersFailed(call, app, serving.failure)) refuseFailed(call, serving.failure);
      return;
    }
    if (gate.answers(call, app)) return;
    if (readAhead.full) call.refuse(overloaded());
    else hold.wait(app, call);
  }

  function send(call: Call, target: UpstreamTarget): void {
    const { app } = call;
    if (app === undefined) return;
    app.inFlight += 1;
    if (call.passive) app.passive += 1;
    call.countedIn = app;
    call.noteTimings(app.route);
    Attempt.send(call, app, target, sending);
  }

  function uncount(call: Call): void {
    const app = call.countedIn;
    if (app === undefined) return;
    call.countedIn = undefined;
    app.inFlight -= 1;
    if (call.passive) app.passive -= 1;
    else app.lastActiveMs = clock.nowMs();
    if (app.maxTotal !== Infinity) hold.changed(app);
  }

  function ended(call: Call): void {
    uncount(call);
    if (call.app !== undefined) hold.leave(call.app, call);
    const durationMs = clock.nowMs() - call.arrivedMs;
    const status = call.status === 0 ? 499 : call.status;
    onEnded(call, status, durationMs);
  }

  return { route, send, ended, uncount };
}

function noRoute(): AppError {
  return new AppError('route_not_found', 'No app has this host and path.');
}

function noTableYet(): AppError {
  return new AppError('agent_unavailable', 'This router has no routes from the agent yet.', { retryAfterMs: 1_000 });
}
