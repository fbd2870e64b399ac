/** The counters of the router. Labels are bounded: status codes, reasons, and a limited number of apps. */
import { Counter, Histogram, type Registry } from '@prometheus-io/client';
import { createCallMetrics } from './call-metrics.ts';

export type RouterMetrics = ReturnType<typeof createMetrics>;

/** Further apps share the label `other`. */
const maxLabelledApps = 100;
const secondsBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export function createMetrics(registry: Registry) {
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]): Counter<L> =>
    new Counter({ name, help, labelNames, registers });
  const calls = createCallMetrics(registry, secondsBuckets);
  const holdDuration = new Histogram({
    name: 'holdfast_router_hold_duration_seconds',
    help: 'Time for which calls were held.',
    buckets: secondsBuckets,
    registers,
  });
  const holdRejected = counter(
    'holdfast_router_hold_rejected_total',
    'Calls refused by the hold, by reason.',
    'reason',
  );
  const connectFailures = counter(
    'holdfast_router_upstream_connect_failures_total',
    'Connections that targets did not accept, by reason; the calls went elsewhere or were held.',
    'reason',
  );
  const accessLogDropped = counter(
    'holdfast_router_access_log_dropped_total',
    'Access log lines that were dropped because standard output was too slow.',
  );
  const streamsCut = counter(
    'holdfast_router_streams_cut_total',
    'Streams that were cut off because too many bytes waited for slow readers in all.',
  );
  const setAside = counter(
    'holdfast_router_targets_set_aside_total',
    'Times that a target was set aside because it did not accept a connection.',
  );
  const wakeAnswers = counter(
    'holdfast_router_wake_rule_answers_total',
    'Static answers to calls that may not wake their app, by app and number of the rule; apps after the first hundred are "other".',
    'app',
    'rule',
  );
  const wakesRefused = counter(
    'holdfast_router_wakes_refused_total',
    'Calls refused because their app has used up its wake budget (wake.max_per_hour).',
  );
  const waitingPages = counter('holdfast_router_waiting_pages_total', 'Waiting pages sent to browsers.');
  const connectionsRefused = counter(
    'holdfast_router_connections_refused_total',
    'Connections of clients closed as they came, by reason: all for max_connections, client for max_connections_per_client, http2 for http2_max_connections, or where one has no room to go on with HTTP/2.',
    'reason',
  );
  const connectionsEvicted = counter(
    'holdfast_router_connections_gave_way_total',
    'Connections of clients without a call that were closed to make room for new ones, at max_connections.',
  );
  const labelled = new Set<string>();
  return {
    /** @param status 499 if the client left before its answer began. */
    request: (status: number, durationMs: number) => calls.ended(status, durationMs),
    holdEnded: (durationMs: number) => holdDuration.observe(durationMs / 1_000),
    holdRejected: (reason: string) => holdRejected.inc({ reason }),
    /** @param reason which limit was reached: of all clients, of this client, or of HTTP/2. */
    connectionRefused: (reason: 'all' | 'client' | 'http2') => connectionsRefused.inc({ reason }),
    connectionEvicted: () => connectionsEvicted.inc(),
    accessLogDropped: (lines: number) => accessLogDropped.inc(lines),
    connectFailed: (reason: 'refused' | 'timeout') => connectFailures.inc({ reason }),
    targetSetAside: () => setAside.inc(),
    streamCut: () => streamsCut.inc(),
    /** @param rule number of the rule, or `default`. */
    wakeAnswered(app: string, rule: string) {
      if (labelled.size < maxLabelledApps) labelled.add(app);
      wakeAnswers.inc({ app: labelled.has(app) ? app : 'other', rule });
    },
    wakeRefused: () => wakesRefused.inc(),
    waitingPage: () => waitingPages.inc(),
  };
}
