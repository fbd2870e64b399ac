/** The router, put together: its parts, what they tell each other, and how it ends. */
import { randomUUID } from 'node:crypto';
import type { Registry } from '@prometheus-io/client';
import { AppError } from '../shared/errors.ts';
import type { Log } from '../shared/log.ts';
import type { Route, RoutesItem } from '../shared/protocol/routes.ts';
import { systemClock, type Clock } from '../shared/wait/clock.ts';
import { createAccessLog } from './telemetry/access-log.ts';
import { Activity } from './activity.ts';
import { createCallPath } from './call-path.ts';
import { createAgentLink, type AgentDial } from './agent-link.ts';
import { Apps, type App } from './table/apps.ts';
import { Backlogs } from './io/backlog.ts';
import { Call, type CallRouting } from './call/call.ts';
import type { RouterConfig } from './config.ts';
import { Deadlines } from './io/deadlines.ts';
import { viewTargets, type TargetsView } from './table/debug-targets.ts';
import { createDialFailures } from './upstream/dial-failures.ts';
import { Ensures } from './hold/ensure.ts';
import { Hold } from './hold/hold.ts';
import { HeadWriter } from './message/head-writer.ts';
import { RequestHeads } from './message/request-head.ts';
import { ResponseParser } from './message/response-parser.ts';
import { HttpDate } from './message/http-date.ts';
import { LineWriter, type Output } from './telemetry/line-writer.ts';
import { createMetrics } from './telemetry/metrics.ts';
import type { AttemptDeps } from './upstream/attempt.ts';
import { LateStarts } from './upstream/late-starts.ts';
import { Probes } from './upstream/probes.ts';
import { redirectToTls } from './call/redirect.ts';
import { startServer, type CallServer } from './client/server.ts';
import { ReadAhead } from './io/read-ahead.ts';
import { ReadBuffers } from './io/read-buffers.ts';
import { Table } from './table/table.ts';
import { openTls, type OpenTls } from './client/tls/open-tls.ts';
import { createTurnClock } from './io/turn-clock.ts';
import { UpstreamTargets } from './upstream/targets.ts';
import { Tunnels } from './upstream/tunnel.ts';
import { createWaking } from './wake/create-waking.ts';

/** After `drain_timeout_secs`: time for what is ended then to end in an orderly way. */
const goodbyeMs = 2_000;

export interface RouterDeps {
  readonly config: Omit<RouterConfig, 'token' | 'agent_url' | 'admin_port' | 'log_level' | 'access_log' | 'workers'>;
  readonly dial: AgentDial;
  readonly registry: Registry;
  readonly log: Log;
  readonly clock?: Clock;
  /** Where a line goes for each call; none without it. */
  readonly accessLog?: Output | undefined;
  /** What the routes of the agent are here. */
  readonly adaptRoute?: ((route: Route) => Route) | undefined;
  /** Takes no calls before it has its routes: others do meanwhile. */
  readonly late?: boolean;
}

export interface Router {
  /** That calls come in by. */
  readonly port: number;
  /** That they come in by with TLS. */
  readonly tlsPort: number | undefined;
  readonly held: number;
  ready(): { readonly ok: boolean; readonly reason: string };
  /** For `GET /debug/targets`. */
  viewTargets(query: URLSearchParams): TargetsView;
  /** Lets what is there end, for `drain_timeout_secs`, then closes. */
  drain(): Promise<void>;
  /** Ends everything now. */
  close(): Promise<void>;
}

export async function startRouter(deps: RouterDeps): Promise<Router> {
  const { config, log } = deps;
  const clock = deps.clock ?? createTurnClock();
  const deadlines = new Deadlines(clock);
  const readAhead = new ReadAhead(config.read_ahead_max_bytes);
  const backlogs = new Backlogs({
    maxBytes: config.stream_buffers_max_bytes,
    partBytes: config.stream_buffer_bytes,
    clock,
    deadlines,
    onCut: () => metrics.streamCut(),
  });
  const writer = new HeadWriter();
  const heads = new RequestHeads({ maxFields: config.max_header_fields });
  const tunnels = new Tunnels();
  const date = new HttpDate();
  const headersTimeoutMs = config.upstream_headers_timeout_secs * 1_000;
  const targets = new UpstreamTargets({
    clock,
    deadlines,
    backlogs,
    readAhead,
    buffers: new ReadBuffers(),
    writer,
    responseParser: new ResponseParser({ maxFields: config.max_header_fields }),
    connectTimeoutMs: config.upstream_connect_timeout_ms,
    settingsTimeoutMs: headersTimeoutMs,
    maxIdle: config.max_idle_upstream_sockets,
    streamBytes: config.stream_buffer_bytes,
    maxHeaderBytes: config.max_header_bytes,
    maxFields: config.max_header_fields,
    maxTrailerBytes: config.max_trailer_bytes,
  });
  const { gate, waiting, causeOf } = createWaking({
    config,
    date,
    clock,
    ensures: () => ensures,
    agentUp: () => agent.peer !== undefined,
    metrics: () => metrics,
  });
  const apps = new Apps(targets, config.max_upstream_sockets);
  let server: CallServer | undefined;
  let onTls: OpenTls | undefined;
  let draining = false;
  let onSynced: () => void = () => undefined;

  const metrics = createMetrics({
    registry: deps.registry,
    held: () => hold.held,
    routes: () => table.size,
    agentUp: () => agent.peer !== undefined,
    connections: () => server?.connections ?? 0,
    connectionPlaces: () => server?.places ?? 0,
    http2: () => server?.http2 ?? { connections: 0, streams: 0 },
    readAheadBytes: () => readAhead.bytes,
    waitingStreams: () => waiting.streams,
    bufferedBytes: () => backlogs.bytes,
    bufferedMax: () => server?.bufferedMax() ?? 0,
    targets: () => targets.states(),
    upstreamSockets: () => targets.sockets(),
  });
  const accessLines = deps.accessLog
    ? new LineWriter({ clock, output: deps.accessLog, onDropped: (lines) => metrics.accessLogDropped(lines) })
    : undefined;
  const accessLog = accessLines ? createAccessLog({ lines: accessLines, now: Date.now }) : undefined;
  const ensures = new Ensures({
    agent: () => agent.peer,
    clock,
    log,
    onEnsured(app, suspects) {
      for (const target of apps.get(app)?.targets ?? []) {
        if (suspects.includes(target.id)) probes.hurry(target);
      }
      hold.lookAgain(app);
    },
    onFailed(name, version, error) {
      const app = apps.get(name);
      if (app === undefined) return;
      if (error.code === 'wake_budget_exhausted') {
        const refusal = gate.refused(app, version, error);
        if (refusal !== undefined) hold.refuse(app, refusal);
      } else {
        hold.failed(app, version, error);
        waiting.failed(app, version, error);
      }
    },
    onProgress(progress) {
      const app = apps.get(progress.app);
      if (app !== undefined) waiting.progressed(app, progress);
    },
    onRested(name) {
      const app = apps.get(name);
      // If the pending version is still not started, the next call asks again.
      if (app !== undefined) {
        app.askedPending = null;
        waiting.lookAgain(app);
      }
      hold.lookAgain(name);
    },
  });
  const hold = new Hold({
    clock,
    maxCalls: config.hold_max_calls,
    maxStalled: Math.ceil(config.max_upstream_sockets / 4),
    want: (app, version, suspects, first) =>
      ensures.want(app, version, suspects, first instanceof Call ? () => causeOf(first) : undefined),
    trusted: () => agent.trusted(),
    agentUp: () => agent.peer !== undefined,
    onRejected: (reason) => metrics.holdRejected(reason),
  });
  const table = new Table({
    apps,
    hold: {
      changed(app, moved) {
        hold.changed(app, moved);
        waiting.changed(app);
      },
    },
    clock,
  });
  const activity = new Activity({ appOf: (name) => apps.get(name), heldOf: (app) => hold.heldOf(app), clock });
  const probes = new Probes({
    clock,
    connectTimeoutMs: config.upstream_connect_timeout_ms,
    onBack(app: App, target) {
      log.info({ app: app.name, target: target.id }, 'target accepts connections again');
      hold.changed(app);
    },
  });
  const dialFailed = createDialFailures({
    probes,
    metrics,
    log,
    suspect: (app, id) => ensures.want(app.name, app.route.version, [id]),
  });
  const sending: AttemptDeps = {
    clock,
    writer,
    lateStarts: new LateStarts(),
    date,
    tunnels,
    headersTimeoutMs,
    maxUploads: Math.ceil(config.max_upstream_sockets / 2),
    events: {
      targetConnected: (app: App) => hold.changed(app),
      targetLeft(app: App, target) {
        targets.left(target);
        hold.changed(app);
      },
      dialFailed,
      callUpgraded(app: App, call) {
        app.upgraded += 1;
        path.uncount(call);
        metrics.request(101, clock.nowMs() - call.arrivedMs);
      },
      tunnelClosed(app: App, call, bytes) {
        app.upgraded -= 1;
        app.bytes += bytes;
        app.lastActiveMs = clock.nowMs();
        accessLog?.call(call, 101, app.lastActiveMs - call.arrivedMs);
        if (app.maxTotal !== Infinity) hold.changed(app);
      },
    },
  };

  const path = createCallPath({
    clock,
    table,
    activity,
    gate,
    hold,
    readAhead,
    sending,
    want: (app, version, call) => ensures.want(app.name, version, [], () => causeOf(call)),
    synced: () => agent.synced,
    trusted: () => agent.trusted(),
    onEnded(call, status, durationMs) {
      metrics.request(status, durationMs);
      if (call.heldMs !== undefined) metrics.holdEnded(call.heldMs);
      accessLog?.call(call, status, durationMs);
    },
  });

  function refuseHeld(): void {
    ensures.close();
    hold.close(new AppError('router_draining', 'This router is shutting down.', { retryAfterMs: 1_000 }));
  }

  const agent = createAgentLink({
    // Two processes may have one name: the agent has to know each, to wait for each.
    name: `${config.name}/${randomUUID().slice(0, 8)}`,
    dial: deps.dial,
    onWatch: () => table.restart(),
    onItem: (item, applied) => table.apply(adapted(item, deps.adaptRoute), applied),
    onBetter(what) {
      if (what === 'link') {
        ensures.linkUp();
        onSynced();
      }
      hold.changedAll();
      waiting.changedAll();
    },
    targets,
    activity,
    clock: deps.clock ?? systemClock,
    log,
    leaseMs: config.lease_secs * 1_000,
    onAgentLoss: config.on_agent_loss,
  });

  const close = async (): Promise<void> => {
    draining = true;
    refuseHeld();
    waiting.close();
    await server?.close();
    await onTls?.certificates.close();
    await agent.close();
    table.close();
    probes.close();
    targets.close();
    backlogs.close();
    deadlines.close();
    await accessLines?.close();
  };

  const { tls } = config;
  const plainRouting: CallRouting = {
    route: path.route,
    send: path.send,
    ended: path.ended,
    clock,
    draining: () => draining,
  };
  const routing = tls.redirect_http ? redirectToTls(plainRouting, { publicPort: tls.public_port }) : plainRouting;
  try {
    if (tls.listen_port !== undefined) {
      onTls = await openTls({
        config: tls,
        registry: deps.registry,
        handshakes: () => server?.handshakes ?? 0,
        clock,
        log,
      });
    }
    if (deps.late === true && !agent.synced) await new Promise<void>((resolve) => (onSynced = resolve));
    server = await startServer({
      config,
      deadlines,
      readAhead,
      backlogs,
      writer,
      heads,
      routing,
      onRefused(client, status) {
        metrics.request(status, 0);
        accessLog?.refused(client, status);
      },
      onConnectionRefused: (reason) => metrics.connectionRefused(reason),
      onEvicted: () => metrics.connectionEvicted(),
      tls: onTls,
    });
  } catch (error) {
    await close();
    throw error;
  }
  const running = server;
  return {
    port: running.port,
    tlsPort: running.tlsPort,
    get held() {
      return hold.held;
    },
    ready() {
      if (draining) return { ok: false, reason: 'draining' };
      return agent.synced ? { ok: true, reason: 'ok' } : { ok: false, reason: 'no routes from the agent yet' };
    },
    viewTargets: (query) => viewTargets(apps, query),
    async drain() {
      if (draining) return;
      draining = true; // Not ready any more; answers say `Connection: close`.
      log.info('draining');
      waiting.close();
      await pause(clock, config.drain_delay_secs * 1_000); // Load balancers take note; calls still come and are served.
      running.drain();
      await running.whenEmpty(config.drain_timeout_secs * 1_000); // Calls, held calls and upgrades end.
      refuseHeld();
      tunnels.goAway();
      await running.whenEmpty(goodbyeMs); // Refusals are read, WebSockets closed by both sides.
      await close();
      log.info('drained');
    },
    close,
  };
}

function adapted(item: RoutesItem, adapt: RouterDeps['adaptRoute']): RoutesItem {
  if (adapt === undefined) return item;
  return item.kind === 'delta'
    ? { ...item, upsert: item.upsert.map(adapt) }
    : { ...item, routes: item.routes.map(adapt) };
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(ms, resolve);
  });
}
