/** The agent's own metrics, collected when asked for. */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from '@prometheus-io/client';
import type { EndState } from './images/image-build.ts';
import type { Images } from './images/images.ts';
import type { Leadership } from './leadership.ts';
import { createVersionMetrics, type VersionMetrics } from './versions/version-metrics.ts';

export interface AgentMetrics {
  readonly registry: Registry;
  buildEnded(state: EndState, seconds: number | undefined): void;
  readonly versions: VersionMetrics;
}

interface MetricsDeps {
  /** What this agent holds while it leads, undefined while it does not. */
  readonly current: () => Leadership | undefined;
  readonly images: () => Pick<Images, 'running' | 'queued'> | undefined;
}

/** Seconds. */
const buildBuckets = [1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1_280];

export function createMetrics({ current, images }: MetricsDeps): AgentMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const gauge = (name: string, help: string, value: () => number): void => {
    registry.registerMetric(
      new Gauge({
        name,
        help,
        registers: [],
        collect() {
          this.set(value());
        },
      }),
    );
  };
  gauge('holdfast_agent_leader', '1 while this agent leads', () => (current() ? 1 : 0));
  gauge('holdfast_agent_routers', 'Routers that watch routes', () => current()?.hub.routers.length ?? 0);
  gauge(
    'holdfast_agent_outbox_records',
    'Records that wait to be written to Postgres',
    () => current()?.outboxSize() ?? 0,
  );
  registry.registerMetric(
    new Gauge({
      name: 'holdfast_agent_apps',
      help: 'Apps by state',
      labelNames: ['state'],
      registers: [],
      collect() {
        this.reset();
        for (const machine of current()?.engine.machines() ?? []) this.inc({ state: machine.view().state });
      },
    }),
  );
  registry.registerMetric(
    new Gauge({
      name: 'holdfast_agent_builds',
      help: 'Builds that have their turn (running) or wait for it (queued)',
      labelNames: ['state'],
      registers: [],
      collect() {
        this.set({ state: 'running' }, images()?.running ?? 0);
        this.set({ state: 'queued' }, images()?.queued ?? 0);
      },
    }),
  );
  const ended = new Counter({
    name: 'holdfast_agent_builds_ended_total',
    help: 'Builds that have ended, by how',
    labelNames: ['state'],
    registers: [],
  });
  const duration = new Histogram({
    name: 'holdfast_agent_build_seconds',
    help: 'From the turn of a build to its end, by how it ended',
    labelNames: ['state'],
    buckets: buildBuckets,
    registers: [],
  });
  registry.registerMetric(ended);
  registry.registerMetric(duration);
  return {
    registry,
    versions: createVersionMetrics(registry),
    buildEnded(state, seconds) {
      ended.inc({ state });
      if (seconds !== undefined) duration.observe({ state }, seconds);
    },
  };
}
