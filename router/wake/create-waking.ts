/** All that has to do with waking apps besides holding calls, put together: rules, budget, causes and waiting pages. */
import type { WakeCause } from '../../shared/protocol/wake-cause.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { App } from '../table/apps.ts';
import type { Call } from '../call/call.ts';
import type { RouterConfig } from '../config.ts';
import type { Ensures } from '../hold/ensure.ts';
import type { HttpDate } from '../message/http-date.ts';
import { LocalAnswers } from '../call/local-answer.ts';
import type { RouterMetrics } from '../telemetry/metrics.ts';
import { Waiting } from './waiting.ts';
import { causeOf } from './cause.ts';
import { WakeGate } from './wake-gate.ts';

export interface WakingDeps {
  readonly config: Pick<RouterConfig, 'name' | 'max_waiting_streams'>;
  readonly date: HttpDate;
  readonly clock: Clock;
  readonly ensures: () => Pick<Ensures, 'want'>;
  readonly agentUp: () => boolean;
  readonly metrics: () => Pick<RouterMetrics, 'wakeAnswered' | 'wakeRefused' | 'waitingPage'>;
}

export interface Waking {
  readonly gate: WakeGate;
  readonly waiting: Waiting;
  readonly causeOf: (call: Call) => WakeCause;
}

export function createWaking(deps: WakingDeps): Waking {
  const { config, clock, ensures, agentUp, metrics } = deps;
  const local = new LocalAnswers(deps.date);
  const cause = (call: Call): WakeCause => causeOf(call, config.name);
  const waiting = new Waiting({
    local,
    clock,
    maxStreams: config.max_waiting_streams,
    agentUp,
    want: (app: App, call) => ensures().want(app.name, app.route.version, [], () => cause(call)),
    onPage: () => metrics().waitingPage(),
  });
  const gate = new WakeGate({
    local,
    waiting,
    clock,
    onRuleAnswer: (app, rule) => metrics().wakeAnswered(app, rule),
    onBudgetAnswer: () => metrics().wakeRefused(),
  });
  return { gate, waiting, causeOf: cause };
}
