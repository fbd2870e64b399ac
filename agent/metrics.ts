/** The agent's own metrics, collected when asked for. */
import { Gauge, Registry, collectDefaultMetrics } from '@prometheus-io/client';
import type { Leadership } from './leadership.ts';

/** @param current what this agent holds while it leads, undefined while it does not. */
export function createMetrics(current: () => Leadership | undefined): Registry {
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
  return registry;
}
