/**
 * The path of a call: it goes to a ready target at once, without a promise; otherwise through the wake gate to the hold.
 */
import { AppError } from '../shared/errors.ts';
import type { Clock } from '../shared/wait/clock.ts';
import type { Activity } from './activity.ts';
import type { Call, CallApp, CallRouting } from './call/call.ts';
import type { ReadAhead } from './io/read-ahead.ts';
import { createBelowPath } from './below-path.ts';
import type { LocalAnswers } from './call/local-answer.ts';
import { overloaded } from './call/refusal.ts';
import { isPlainlyBelow } from './message/path.ts';
import type { FrontPage } from './front/front-page.ts';
import type { Ensures } from './hold/ensure.ts';
import { refuseFailed } from './hold/hold.ts';
import type { AgentState } from './agent-state.ts';
import type { InFlight } from './table/in-flight.ts';
import type { App } from './table/apps.ts';
import type { Table } from './table/table.ts';
import { Attempt, type AttemptDeps } from './upstream/attempt.ts';
import type { UpstreamTarget } from './upstream/target.ts';
import { provenMs, type WakeGate } from './wake/wake-gate.ts';

export interface CallPathDeps {
  readonly clock: Clock;
  readonly table: Pick<Table, 'lookup'>;
  readonly front: Pick<FrontPage, 'answers'>;
  readonly activity: Pick<Activity, 'note'>;
  readonly gate: WakeGate;
  readonly hold: {
    waiting(app: App): boolean;
    wait(app: App, call: Call): void;
    leave(app: CallApp, call: Call): void;
  };
  readonly ensures: Pick<Ensures, 'want'>;
  readonly local: Pick<LocalAnswers, 'send'>;
  readonly agent: Pick<AgentState, 'synced' | 'trusted'>;
  readonly readAhead: Pick<ReadAhead, 'full'>;
  readonly inFlight: InFlight;
  readonly attempts: AttemptDeps;
  readonly events: {
    /** @param status 499 if the client left before its answer began. */
    callEnded(call: Call, status: number, durationMs: number): void;
  };
}

export type CallPath = Pick<CallRouting, 'route' | 'send' | 'ended'>;

export function createCallPath(deps: CallPathDeps): CallPath {
  const belowPath = createBelowPath(deps);
  const { clock, table, front, activity, gate, hold, ensures, agent, readAhead, inFlight, attempts, events } = deps;

  function route(call: Call): void {
    inFlight.leave(call);
    const app = table.lookup(call.host, call.head.path);
    if (app === undefined) {
      if (!agent.synced) call.refuse(noTableYet());
      else if (!front.answers(call)) call.refuse(noRoute());
      return;
    }
    if (call.app !== app) {
      call.app = app;
      if (app.calls === 0) activity.note(app);
      app.calls += 1;
    }
    if (app.route.waitingPage === true && gate.takes(call, app)) return;
    if (!isPlainlyBelow(call.head.path, app.route) && belowPath(call, app)) return;
    const { serving } = app.route;
    if (serving.state === 'ready') {
      if (serving.pending !== null && app.askedPending !== serving.pending && gate.mayStart(call, app)) {
        app.askedPending = serving.pending;
        ensures.want(app.name, serving.pending, [], call.head);
      }
      if (call.arrivedMs - app.provenAtMs > provenMs) gate.prove(call, app);
      if (!hold.waiting(app) && agent.trusted) {
        const target = app.pick();
        if (target !== undefined) {
          send(call, target);
          return;
        }
      }
    } else if (serving.state === 'failed' && agent.trusted) {
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
    inFlight.enter(call, app);
    call.noteTimings(app.route);
    Attempt.send(call, app, target, attempts);
  }

  function ended(call: Call): void {
    inFlight.leave(call);
    if (call.app !== undefined) hold.leave(call.app, call);
    const durationMs = clock.nowMs() - call.arrivedMs;
    const status = call.status === 0 ? 499 : call.status;
    events.callEnded(call, status, durationMs);
  }

  return { route, send, ended };
}

function noRoute(): AppError {
  return new AppError('route_not_found', 'No app has this host and path.');
}

function noTableYet(): AppError {
  return new AppError('agent_unavailable', 'This router has not received its routes from the agent yet; try again.', {
    retryAfterMs: 1_000,
  });
}
