/** The agent's own metrics, collected when they are asked for. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from '@prometheus-io/client';
import type { EndState } from './images/build-journal.ts';
import type { Images } from './images/images.ts';
import type { RouteHub } from './routes/hub.ts';
import type { Engine } from './versions/engine.ts';
import type { VersionMetrics } from './versions/machine/machine-deps.ts';

export interface AgentMetrics {
  readonly registry: Registry;
  readonly buildEnded: (state: EndState, seconds: number | undefined) => void;
  readonly versions: VersionMetrics;
}

interface MetricsDeps {
  /** The parts of the leading agent; undefined on a standby. */
  readonly current: () =>
    | {
        readonly hub: Pick<RouteHub, 'routers'>;
        readonly engine: Pick<Engine, 'machines'>;
        readonly outboxSize: () => number;
      }
    | undefined;
  readonly images: () => Pick<Images, 'running' | 'queued'> | undefined;
}

/** Seconds. */
const buildBuckets = [1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1_280];
const startBuckets = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900];

export function createMetrics({ current, images }: MetricsDeps): AgentMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  const gauge = (name: string, help: string, value: () => number): void => {
    const collect = function (this: Gauge): void {
      this.set(value());
    };
    void new Gauge({ name, help, registers, collect });
  };
  gauge('holdfast_agent_leader', '1 while this agent leads', () => (current() ? 1 : 0));
  gauge('holdfast_agent_routers', 'Routers that watch routes', () => current()?.hub.routers.length ?? 0);
  gauge(
    'holdfast_agent_outbox_records',
    'Records that wait to be written to Postgres',
    () => current()?.outboxSize() ?? 0,
  );
  void new Gauge({
    name: 'holdfast_agent_apps',
    help: 'Apps by state',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset();
      for (const { state } of current()?.engine.machines() ?? []) this.inc({ state });
    },
  });
  void new Gauge({
    name: 'holdfast_agent_builds',
    help: 'Builds that run, and builds that wait for their turn (queued)',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'running' }, images()?.running ?? 0);
      this.set({ state: 'queued' }, images()?.queued ?? 0);
    },
  });
  const ended = new Counter({
    name: 'holdfast_agent_builds_ended_total',
    help: 'Builds that have ended, by how they ended',
    labelNames: ['state'],
    registers,
  });
  const duration = new Histogram({
    name: 'holdfast_agent_build_seconds',
    help: 'Time from the turn of a build to its end, by how it ended',
    labelNames: ['state'],
    buckets: buildBuckets,
    registers,
  });
  return {
    registry,
    versions: createVersionMetrics(registry),
    buildEnded(state, seconds) {
      ended.inc({ state });
      if (seconds !== undefined) duration.observe({ state }, seconds);
    },
  };
}

/** Starts of versions, drains and wakes. */
export function createVersionMetrics(registry: Registry): VersionMetrics {
  const registers = [registry];
  const phases = new Histogram({
    name: 'holdfast_agent_start_phase_duration_seconds',
    help: 'Phases of starts that ended with an answer: build, schedule, pull, start (the container runs and does not answer yet), switch (the stable address follows), and total.',
    labelNames: ['phase'],
    buckets: startBuckets,
    registers,
  });
  const failures = new Counter({
    name: 'holdfast_agent_start_failures_total',
    help: 'Starts that failed, by the code of the error.',
    labelNames: ['code'],
    registers,
  });
  const drains = new Counter({
    name: 'holdfast_agent_drains_total',
    help: 'Drain handshakes of idle apps, by their end: zero, taken_back (a call came), busy (calls were left, or a router could not be asked).',
    labelNames: ['result'],
    registers,
  });
  const wakes = new Counter({
    name: 'holdfast_agent_wakes_total',
    help: 'Wakes of apps that had gone to zero: for a call, by a person (or tool), or refused because wake.max_per_hour is used up.',
    labelNames: ['result'],
    registers,
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
