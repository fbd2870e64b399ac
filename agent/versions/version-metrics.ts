/** What starting versions and going to zero come to, as metrics of the agent. */
import { Counter, Histogram, type Registry } from '@prometheus-io/client';
import type { ErrorCode } from '../../shared/errors.ts';
import type { StartTimings } from '../../shared/protocol/routes.ts';

export interface VersionMetrics {
  /** A version answers. */
  started(timings: StartTimings): void;
  startFailed(code: ErrorCode): void;
  /** zero: it was free and goes to zero · taken_back: a call came · busy: a router has calls of it, or could not be asked. */
  drained(result: 'zero' | 'taken_back' | 'busy'): void;
  /** A start from zero: for a call, by a person or a tool, or for a call and refused. */
  wake(result: 'call' | 'person' | 'refused'): void;
}

/** Seconds. */
const buckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900];

export function createVersionMetrics(registry: Registry): VersionMetrics {
  const phases = new Histogram({
    name: 'holdfast_agent_start_phase_duration_seconds',
    help: 'Phases of starts that ended with an answer: build, schedule, pull, start (the container runs, no answer yet), switch (the stable address follows), and total.',
    labelNames: ['phase'],
    buckets,
    registers: [registry],
  });
  const failures = new Counter({
    name: 'holdfast_agent_start_failures_total',
    help: 'Starts that failed, by the code of the error.',
    labelNames: ['code'],
    registers: [registry],
  });
  const drains = new Counter({
    name: 'holdfast_agent_drains_total',
    help: 'Idle apps that routers were asked to let go of, by how that ended: zero, taken_back (a call came), busy (calls were left, or a router could not be asked).',
    labelNames: ['result'],
    registers: [registry],
  });
  const wakes = new Counter({
    name: 'holdfast_agent_wakes_total',
    help: 'Wakes of apps that had gone to zero: for a call, by a person (or tool), or refused since wake.max_per_hour allows no more.',
    labelNames: ['result'],
    registers: [registry],
  });
  return {
    started({ buildMs, rolloutMs, scheduleMs, pullMs, startMs, switchMs }) {
      const all = { build: buildMs, schedule: scheduleMs, pull: pullMs, start: startMs, switch: switchMs };
      for (const [phase, ms] of Object.entries(all)) if (ms != null) phases.observe({ phase }, ms / 1_000);
      phases.observe({ phase: 'total' }, ((buildMs ?? 0) + (rolloutMs ?? 0)) / 1_000);
    },
    startFailed: (code) => failures.inc({ code }),
    drained: (result) => drains.inc({ result }),
    wake: (result) => wakes.inc({ result }),
  };
}
