/** The counters of the router. Labels are bounded: status codes, reasons, and a limited number of apps. */
import { Counter, Histogram, type Registry } from '@prometheus-io/client';
import { createCallMetrics } from './call-metrics.ts';

export interface RouterMetrics {
  /** @param status 499 if the client left before its answer began. */
  request(status: number, durationMs: number): void;
  holdEnded(durationMs: number): void;
  holdRejected(reason: string): void;
  accessLogDropped(lines: number): void;
  connectFailed(reason: 'refused' | 'timeout'): void;
  targetSetAside(): void;
  streamCut(): void;
  /** @param rule number of the rule, or `default`. */
  wakeAnswered(app: string, rule: string): void;
  wakeRefused(): void;
  waitingPage(): void;
  /** @param reason which limit was reached: of all clients, of this client, or of HTTP/2. */
  connectionRefused(reason: 'all' | 'client' | 'http2'): void;
  connectionEvicted(): void;
}

/** Further apps share the label `other`. */
const maxLabelledApps = 100;
const secondsBuckets = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export function createMetrics(registry: Registry): RouterMetrics {
  const registers = [registry];
  const calls = createCallMetrics(registry, secondsBuckets);
  const holdDuration = new Histogram({
    name: 'holdfast_router_hold_duration_seconds',
    help: 'Time for which calls were held.',
    buckets: secondsBuckets,
    registers,
  });
  const holdRejected = new Counter({
    name: 'holdfast_router_hold_rejected_total',
    help: 'Calls refused by the hold, by reason.',
    labelNames: ['reason'],
    registers,
  });
  const connectFailures = new Counter({
    name: 'holdfast_router_upstream_connect_failures_total',
    help: 'Connections that targets did not accept, by reason; the calls went elsewhere or were held.',
    labelNames: ['reason'],
    registers,
  });
  const accessLogDropped = new Counter({
    name: 'holdfast_router_access_log_dropped_total',
    help: 'Access log lines that were dropped because standard output was too slow.',
    registers,
  });
  const streamsCut = new Counter({
    name: 'holdfast_router_streams_cut_total',
    help: 'Streams that were cut off because too many bytes waited for slow readers in all.',
    registers,
  });
  const setAside = new Counter({
    name: 'holdfast_router_targets_set_aside_total',
    help: 'Times that a target was set aside because it did not accept a connection.',
    registers,
  });
  const wakeAnswers = new Counter({
    name: 'holdfast_router_wake_rule_answers_total',
    help: 'Static answers to calls that may not wake their app, by app and number of the rule; apps after the first hundred are "other".',
    labelNames: ['app', 'rule'],
    registers,
  });
  const wakesRefused = new Counter({
    name: 'holdfast_router_wakes_refused_total',
    help: 'Calls refused because their app has used up its wake budget (wake.max_per_hour).',
    registers,
  });
  const waitingPages = new Counter({
    name: 'holdfast_router_waiting_pages_total',
    help: 'Waiting pages sent to browsers.',
    registers,
  });
  const connectionsRefused = new Counter({
    name: 'holdfast_router_connections_refused_total',
    help: 'Connections of clients closed as they came, by reason: all for max_connections, client for max_connections_per_client, http2 for http2_max_connections, or where one has no room to go on with HTTP/2.',
    labelNames: ['reason'],
    registers,
  });
  const connectionsEvicted = new Counter({
    name: 'holdfast_router_connections_gave_way_total',
    help: 'Connections of clients without a call that were closed to make room for new ones, at max_connections.',
    registers,
  });

  const labelled = new Set<string>();
  return {
    request: (status, durationMs) => calls.ended(status, durationMs),
    holdEnded: (durationMs) => holdDuration.observe(durationMs / 1_000),
    holdRejected: (reason) => holdRejected.inc({ reason }),
    connectionRefused: (reason) => connectionsRefused.inc({ reason }),
    connectionEvicted: () => connectionsEvicted.inc(),
    accessLogDropped: (lines) => accessLogDropped.inc(lines),
    connectFailed: (reason) => connectFailures.inc({ reason }),
    targetSetAside: () => setAside.inc(),
    streamCut: () => streamsCut.inc(),
    wakeAnswered(app, rule) {
      if (labelled.size < maxLabelledApps) labelled.add(app);
      wakeAnswers.inc({ app: labelled.has(app) ? app : 'other', rule });
    },
    wakeRefused: () => wakesRefused.inc(),
    waitingPage: () => waitingPages.inc(),
  };
}
