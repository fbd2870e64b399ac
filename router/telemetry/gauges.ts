/** Gauges of the current state of the router. */
import { type Aggregator, Gauge, type Registry } from '@prometheus-io/client';

/** The parts of a router, as gauges read them. */
export interface GaugeSources {
  readonly hold: { readonly held: number };
  readonly table: { readonly size: number };
  readonly agent: { readonly up: boolean };
  readonly server: {
    readonly connections: number;
    readonly places: number;
    readonly http2: { readonly connections: number; readonly streams: number };
    bufferedMax(): number;
  };
  readonly readAhead: { readonly bytes: number };
  readonly waiting: { readonly streams: number };
  readonly backlogs: { readonly bytes: number };
  readonly targets: {
    /** Number of targets in each state. */
    states(): Readonly<Record<string, number>>;
    sockets(): { readonly open: number; readonly idle: number; readonly maxOfTarget: number };
  };
}

export function registerGauges(registry: Registry, deps: GaugeSources): void {
  const registers = [registry];
  const targets: Gauge<'state'> = new Gauge({
    name: 'holdfast_router_targets',
    help: 'Targets of apps that were called, by state (docs/limits.md).',
    labelNames: ['state'],
    registers,
    aggregator: 'max',
    collect() {
      for (const [state, count] of Object.entries(deps.targets.states())) targets.set({ state }, count);
    },
  });
  gauge(
    'holdfast_router_waiting_streams',
    'Waiting pages that follow the progress of their app live.',
    () => deps.waiting.streams,
  );
  gauge('holdfast_router_held_calls', 'Calls that are held now.', () => deps.hold.held);
  gauge('holdfast_router_routes', 'Routes in the route table.', () => deps.table.size, 'max');
  gauge('holdfast_router_agent_link_up', '1 while the link to the agent is up.', () => (deps.agent.up ? 1 : 0), 'min');
  gauge('holdfast_router_connections', 'Client connections.', () => deps.server.connections);
  gauge(
    'holdfast_router_connection_places',
    'Share of max_connections in use: a connection with TLS counts as 14, and HTTP/2 adds eight.',
    () => deps.server.places,
  );
  gauge(
    'holdfast_router_http2_connections',
    'Client connections that speak HTTP/2.',
    () => deps.server.http2.connections,
  );
  gauge('holdfast_router_http2_streams', 'Calls on HTTP/2 connections now.', () => deps.server.http2.streams);
  gauge(
    'holdfast_router_read_ahead_bytes',
    'Bytes read ahead from clients: incomplete heads, and what follows the heads of held calls.',
    () => deps.readAhead.bytes,
  );
  gauge(
    'holdfast_router_buffered_bytes',
    'Bytes of memory held for slow clients and slow apps.',
    () => deps.backlogs.bytes,
  );
  gauge(
    'holdfast_router_buffered_bytes_max',
    'Bytes of memory held for the slowest client.',
    () => deps.server.bufferedMax(),
    'max',
  );
  gauge('holdfast_router_upstream_sockets', 'Sockets to targets.', () => deps.targets.sockets().open);
  gauge('holdfast_router_upstream_sockets_idle', 'Idle sockets to targets.', () => deps.targets.sockets().idle);
  gauge(
    'holdfast_router_upstream_sockets_max',
    'Sockets to the target that has most.',
    () => deps.targets.sockets().maxOfTarget,
    'max',
  );

  /** @param aggregator how the values of several workers are combined. */
  function gauge(name: string, help: string, read: () => number, aggregator: Aggregator = 'sum'): void {
    const metric: Gauge = new Gauge({
      name,
      help,
      registers,
      aggregator,
      collect() {
        metric.set(read());
      },
    });
  }
}
