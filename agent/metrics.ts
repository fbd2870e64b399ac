/** The agent's own metrics, collected when asked for. */
import { Gauge, Registry, collectDefaultMetrics } from '@prometheus-io/client';
import type { Leadership } from './leadership.ts';

/** @param current what this agent holds while it leads, undefined while it does not. */
export function createMetrics(current: () => Leadership | undefined): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  new Gauge({
    name: 'holdfast_agent_leader',
    help: '1 while this agent leads',
    registers,
    collect() {
      this.set(current() ? 1 : 0);
    },
  });
  new Gauge({
    name: 'holdfast_agent_apps',
    help: 'Apps by state',
    labelNames: ['state'],
    registers,
    collect() {
      this.reset();
      for (const machine of current()?.engine.machines() ?? []) this.inc({ state: machine.view().state });
    },
  });
  new Gauge({
    name: 'holdfast_agent_routers',
    help: 'Routers that watch routes',
    registers,
    collect() {
      this.set(current()?.hub.routers.length ?? 0);
    },
  });
  new Gauge({
    name: 'holdfast_agent_outbox_records',
    help: 'Records that wait to be written to Postgres',
    registers,
    collect() {
      this.set(current()?.outboxSize() ?? 0);
    },
  });
  return registry;
}
