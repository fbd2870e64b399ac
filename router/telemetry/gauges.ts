/** Gauges of the router's present state. */
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
    'Waiting pages that are told live how far their app is.',
    () => deps.waiting.streams,
  );
  gauge('holdfast_router_held_calls', 'Calls that wait now.', () => deps.hold.held);
  gauge('holdfast_router_routes', 'Routes known.', () => deps.table.size, 'max');
  gauge('holdfast_router_agent_link_up', '1 while the agent can be reached.', () => (deps.agent.up ? 1 : 0), 'min');
  gauge('holdfast_router_connections', 'Connections of clients.', () => deps.server.connections);
  gauge(
    'holdfast_router_connection_places',
    'What they take of max_connections: one by TLS takes 14, one of HTTP/2 eight more.',
    () => deps.server.places,
  );
  gauge('holdfast_router_http2_connections', 'Those of them that speak HTTP/2.', () => deps.server.http2.connections);
  gauge('holdfast_router_http2_streams', 'Calls on them now.', () => deps.server.http2.streams);
  gauge(
    'holdfast_router_read_ahead_bytes',
    'Bytes of clients read before they are wanted: heads that are not whole, what is behind the head of a call that waits.',
    () => deps.readAhead.bytes,
  );
  gauge(
    'holdfast_router_buffered_bytes',
    'Memory of what waits for slow clients and slow apps, bytes.',
    () => deps.backlogs.bytes,
  );
  gauge(
    'holdfast_router_buffered_bytes_max',
    'Those for the one client for whom most wait.',
    () => deps.server.bufferedMax(),
    'max',
  );
  gauge('holdfast_router_upstream_sockets', 'Sockets to targets.', () => deps.targets.sockets().open);
  gauge('holdfast_router_upstream_sockets_idle', 'The idle ones of them.', () => deps.targets.sockets().idle);
  gauge(
    'holdfast_router_upstream_sockets_max',
    'Sockets to the one target with most.',
    () => deps.targets.sockets().maxOfTarget,
    'max',
  );

  /** @param aggregator what it is of several workers. */
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
