/** The router, put together: its parts, who hears of what (events.ts), and how it ends. */
import { randomUUID } from 'node:crypto';
import type { Registry } from '@prometheus-io/client';
import type { Log } from '../shared/log.ts';
import type { Route } from '../shared/protocol/routes.ts';
import { systemClock, type Clock } from '../shared/wait/clock.ts';
import { Activity } from './activity.ts';
import { createAgentLink, type AgentDial } from './agent-link.ts';
import { AgentState } from './agent-state.ts';
import { createCallPath } from './call-path.ts';
import type { CallApp, CallRouting } from './call/call.ts';
import { LocalAnswers } from './call/local-answer.ts';
import { redirectToTls } from './call/redirect.ts';
import { startServer, type CallServer } from './client/server.ts';
import { openTls, type OpenTls } from './client/tls/open-tls.ts';
import type { RouterConfig } from './config.ts';
import { RouterEvents, type Listeners } from './events.ts';
import { Ensures } from './hold/ensure.ts';
import { Hold } from './hold/hold.ts';
import { UnpushedFailures } from './hold/unpushed-failures.ts';
import { Backlogs } from './io/backlog.ts';
import { ClientSockets } from './io/client-socket.ts';
import { Deadlines } from './io/deadlines.ts';
import { ReadAhead } from './io/read-ahead.ts';
import { ReadBuffers } from './io/read-buffers.ts';
import { SocketIo } from './io/socket-io.ts';
import { createTurnClock } from './io/turn-clock.ts';
import { HeadWriter } from './message/head-writer.ts';
import { HttpDate } from './message/http-date.ts';
import { RequestHeads } from './message/request-head.ts';
import { ResponseParser } from './message/response-parser.ts';
import { Apps, type App } from './table/apps.ts';
import { viewTargets, type TargetsView } from './table/debug-targets.ts';
import { InFlight } from './table/in-flight.ts';
import { Directory } from './front/directory.ts';
import { FrontPage } from './front/front-page.ts';
import { Table } from './table/table.ts';
import { Shutdown } from './shutdown.ts';
import { registerGauges } from './telemetry/gauges.ts';
import { createAccessLog } from './telemetry/access-log.ts';
import { InvalidAnswers } from './telemetry/invalid-answers.ts';
import { LineWriter, type Output } from './telemetry/line-writer.ts';
import { createMetrics } from './telemetry/metrics.ts';
import type { AttemptDeps } from './upstream/attempt.ts';
import { createDialFailures } from './upstream/dial-failures.ts';
import { LateStarts } from './upstream/late-starts.ts';
import { Probes } from './upstream/probes.ts';
import { UpstreamTargets } from './upstream/targets.ts';
import type { TransportDeps } from './upstream/transport.ts';
import type { Tunnel } from './upstream/tunnel.ts';
import { Waiting } from './wake/waiting.ts';
import { WakeGate } from './wake/wake-gate.ts';

export interface RouterDeps {
  readonly config: Omit<RouterConfig, 'token' | 'agent_url' | 'admin_port' | 'log_level' | 'access_log' | 'workers'>;
  readonly dial: AgentDial;
  readonly registry: Registry;
  readonly log: Log;
  readonly clock?: Clock;
  /** Gets a line for each call. */
  readonly accessLog?: Output | undefined;
  /** Turns a route of the agent into one that holds in this process. */
  readonly adaptRoute?: ((route: Route) => Route) | undefined;
  /** Accepts no calls before it has its routes, because other routers take them meanwhile. */
  readonly late?: boolean;
}

export type Router = Awaited<ReturnType<typeof startRouter>>;

export async function startRouter(deps: RouterDeps) {
  const open = new AsyncDisposableStack();
  const ground = createGround(deps, open);
  const { config, clock, linkClock, log, metrics, owned } = ground;
  const leaseMs = config.lease_secs * 1_000;

  const targets = owned(new UpstreamTargets(transportDeps(ground)));
  const apps = new Apps(targets, config.max_upstream_sockets);
  const agent = new AgentState({ clock: linkClock, leaseMs, onAgentLoss: config.on_agent_loss });
  const local = new LocalAnswers(ground.date);
  const held = createHolding(ground, agent, local);
  const { hold, waiting } = held;
  const events = new RouterEvents({ ...ground, ...held, ...createProbing(ground, held), apps, targets });
  held.ensures.reportTo(events);
  const table = owned(new Table({ apps, events, clock, adaptRoute: deps.adaptRoute }));
  const activity = new Activity({ apps, hold, clock });
  const tunnels = new Set<Tunnel>();
  const attempts: AttemptDeps = {
    ...ground,
    tunnels,
    events,
    lateStarts: new LateStarts(),
    headersTimeoutMs: config.upstream_headers_timeout_secs * 1_000,
    maxUploads: Math.ceil(config.max_upstream_sockets / 2),
  };
  const directory = config.directory ? new Directory(table.routes, clock) : undefined;
  const front = new FrontPage({ local, directory, now: () => performance.now() });
  const path = createCallPath({ ...ground, ...held, table, front, activity, agent, local, events, attempts });
  // Two processes may have one name: the agent has to know each, to wait for each.
  const name = `${config.name}/${randomUUID().slice(0, 8)}`;
  const { dial } = deps;
  owned(
    createAgentLink({ name, dial, state: agent, table, targets, activity, events, clock: linkClock, log, leaseMs }),
  );

  const shutdown = new Shutdown({ ...ground, ...held, tunnels, open });
  const routing: CallRouting = { ...path, clock, draining: () => shutdown.draining };
  let server: CallServer | undefined;
  try {
    const tls = await openTlsIfAny(ground, deps.registry, () => server?.handshakes ?? 0);
    if (deps.late === true) await agent.whenSynced();
    server = owned(
      await startServer({
        ...ground,
        sockets: new ClientSockets(ground.sockets),
        heads: new RequestHeads({ maxFields: config.max_header_fields }),
        routing: config.tls.redirect_http ? redirectToTls(routing, config.tls.public_port) : routing,
        onRefused: (client, status, error) => events.requestRefused(client, status, error),
        onConnectionRefused: (reason) => metrics.connectionRefused(reason),
        onEvicted: () => metrics.connectionEvicted(),
        tls,
      }),
    );
  } catch (error) {
    await shutdown.close();
    throw error;
  }
  registerGauges(deps.registry, { ...ground, hold, table, agent, server, waiting, targets });
  const running = server;
  return {
    port: running.port,
    tlsPort: running.tlsPort,
    get held(): number {
      return hold.held;
    },
    ready(): { readonly ok: boolean; readonly reason: string } {
      if (shutdown.draining) return { ok: false, reason: 'draining' };
      return agent.synced ? { ok: true, reason: 'ok' } : { ok: false, reason: 'no routes from the agent yet' };
    },
    /** For `GET /debug/targets`. */
    viewTargets: (query: URLSearchParams): TargetsView => viewTargets(apps, query),
    /** Lets calls end, for `drain_timeout_secs`, then closes. */
    drain: (): Promise<void> => shutdown.drain(running),
    /** Ends everything now. */
    close: (): Promise<void> => shutdown.close(),
  };
}

/** What the parts of a router have in common. */
type Ground = ReturnType<typeof createGround>;

function createGround(deps: RouterDeps, open: AsyncDisposableStack) {
  const { config, log } = deps;
  const clock = deps.clock ?? createTurnClock();
  const owned = <T extends { close(): void | Promise<void> }>(part: T): T => open.adopt(part, () => part.close());
  const metrics = createMetrics(deps.registry);
  const lines =
    deps.accessLog &&
    owned(new LineWriter({ clock, output: deps.accessLog, onDropped: (count) => metrics.accessLogDropped(count) }));
  const deadlines = owned(new Deadlines(clock));
  const backlogs = owned(
    new Backlogs({
      maxBytes: config.stream_buffers_max_bytes,
      partBytes: config.stream_buffer_bytes,
      clock,
      deadlines,
      onCut: () => metrics.streamCut(),
    }),
  );
  const sockets = new SocketIo();
  return {
    config,
    log,
    clock,
    // The link's time must not stand still during a turn: a lease may have run out in it.
    linkClock: deps.clock ?? systemClock,
    owned,
    metrics,
    accessLog: lines && createAccessLog({ lines, now: Date.now }),
    deadlines,
    backlogs,
    sockets,
    readAhead: new ReadAhead(config.read_ahead_max_bytes),
    writer: new HeadWriter(sockets),
    date: new HttpDate(),
    invalidAnswers: new InvalidAnswers({ log, clock }),
  };
}

function transportDeps({ config, ...ground }: Ground): TransportDeps {
  return {
    ...ground,
    buffers: new ReadBuffers(),
    responseParser: new ResponseParser({ maxFields: config.max_header_fields }),
    connectTimeoutMs: config.upstream_connect_timeout_ms,
    settingsTimeoutMs: config.upstream_headers_timeout_secs * 1_000,
    maxIdle: config.max_idle_upstream_sockets,
    streamBytes: config.stream_buffer_bytes,
    maxHeaderBytes: config.max_header_bytes,
    maxFields: config.max_header_fields,
    maxTrailerBytes: config.max_trailer_bytes,
  };
}

type Holding = Pick<Listeners, 'ensures' | 'failures' | 'hold' | 'waiting' | 'gate' | 'inFlight'>;

/** What calls go through that are not sent at once, and what they ask of the agent. */
function createHolding(ground: Ground, agent: AgentState, local: LocalAnswers): Holding {
  const { config, clock } = ground;
  const deps = { ...ground, agent, local };
  const ensures = new Ensures({ ...deps, router: config.name });
  const hold = new Hold({
    ...deps,
    ensures,
    maxCalls: config.hold_max_calls,
    maxStalled: Math.ceil(config.max_upstream_sockets / 4),
  });
  const waiting = new Waiting({ ...deps, ensures, maxStreams: config.max_waiting_streams });
  return {
    ensures,
    hold,
    waiting,
    gate: new WakeGate({ ...deps, waiting }),
    failures: new UnpushedFailures({ clock, listeners: [hold, waiting] }),
    inFlight: new InFlight({ clock, hold }),
  };
}

/** What happens to targets that do not accept connections. */
function createProbing(ground: Ground, { ensures, hold }: Holding): Pick<Listeners, 'probes' | 'onDialFailed'> {
  const { config, clock, log, owned } = ground;
  const probes = owned(
    new Probes({
      clock,
      connectTimeoutMs: config.upstream_connect_timeout_ms,
      onBack(app: App, target) {
        log.info({ app: app.name, target: target.id }, 'target accepts connections again');
        hold.changed(app);
      },
    }),
  );
  const suspect = (app: CallApp, target: string): void => ensures.want(app.name, app.route.version, [target]);
  return { probes, onDialFailed: createDialFailures({ ...ground, probes, suspect }) };
}

/** @param handshakes the number under way, for a gauge. */
async function openTlsIfAny(
  ground: Ground,
  registry: Registry,
  handshakes: () => number,
): Promise<OpenTls | undefined> {
  const config = ground.config.tls;
  if (config.listen_port === undefined) return undefined;
  const opened = await openTls({ ...ground, config, registry, handshakes });
  ground.owned(opened.certificates);
  return opened;
}
