/** The metrics of agent and router, as they register them: the tables of docs/metrics.md. */
import { Registry } from '@prometheus-io/client';
import { createMetrics as createAgentMetrics } from '../../agent/metrics.ts';
import { registerGauges, type GaugeSources } from '../../router/telemetry/gauges.ts';
import { createMetrics as createRouterMetrics } from '../../router/telemetry/metrics.ts';

export interface MetricRow {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

export function agentMetricRows(): MetricRow[] {
  return rowsOf(createAgentMetrics({ current: () => undefined, images: () => undefined }).registry);
}

export function routerMetricRows(): MetricRow[] {
  const registry = new Registry();
  // Nothing is read of a metric that is only named.
  createRouterMetrics(registry);
  registerGauges(registry, {} as GaugeSources);
  return rowsOf(registry);
}

function rowsOf(registry: Registry): MetricRow[] {
  const own = registry.getMetricsAsArray() as unknown as (Omit<MetricRow, 'labels'> & { labelNames?: string[] })[];
  return own
    .filter(({ name }) => name.startsWith('holdfast_'))
    .map(({ name, type, help, labelNames = [] }) => ({ name, type, help, labels: labelNames }));
}
