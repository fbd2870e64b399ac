/** For the router's tests: an agent behind the Peer interface, apps that are real HTTP servers, and a router between. */
import { AsyncLocalStorage } from 'node:async_hooks';
import {
  createServer,
  request,
  type IncomingMessage,
  type RequestListener,
  type RequestOptions,
  type Server,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { Registry } from '@prometheus-io/client';
import { AppError } from '../../shared/errors.ts';
import { silentLog, type Log } from '../../shared/log.ts';
import type { AgentMethods, EnsureProgress, ResultOf, RouterMethods } from '../../shared/protocol/methods.ts';
import type { WakeCause } from '../../shared/protocol/wake-cause.ts';
import type { Route, RoutesItem, Target } from '../../shared/protocol/routes.ts';
import { until } from '../../shared/wait/testing/until.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { Handlers, Peer } from '../../shared/rpc/types.ts';
import type { AgentDial } from '../agent-link.ts';
import { tlsConfig } from '../client/tls/config.ts';
import { startRouter, type Router, type RouterDeps } from '../router.ts';

export type EnsureParams = { app: string; version?: number; suspects?: string[] };

/** Serves what a test tells it to; remembers what it was asked. */
export class FakeAgent {
  readonly ensures: EnsureParams[] = [];
  /** Of the ensures, in the same order. */
  readonly causes: (WakeCause | undefined)[] = [];
  readonly acked: number[] = [];
  readonly reports: { app: string; held: number; inFlight: number; upgraded: number; calls: number }[][] = [];
  watches = 0;
  seq = 0;
  /** What an ensure does; by default it never ends. */
  onEnsure: (
    params: EnsureParams,
    signal: AbortSignal | undefined,
    onItem: (progress: EnsureProgress) => void,
  ) => Promise<void> = () => new Promise(() => undefined);
  onReport: () => Promise<void> = () => Promise.resolve();
  handlers: Handlers<RouterMethods, AgentMethods> | undefined;
  readonly routes = new Map<string, Route>();
  #link: { onUp?: (peer: Peer<AgentMethods>) => void; onDown?: (reason: AppError) => void } = {};
  #closed: AbortController | undefined;
  #emit: ((item: RoutesItem) => void) | undefined;

  readonly dial: AgentDial = (options) => {
    this.#link = options;
    this.handlers = options.handlers;
    return { peer: undefined, close: () => Promise.resolve(this.#closed?.abort()) };
  };

  up(): void {
    const closed = new AbortController();
    this.#closed = closed;
    const answer = (
      method: string,
      params: unknown,
      options: { signal?: AbortSignal; onItem?: unknown },
    ): Promise<unknown> =>
      new Promise((resolve, reject) => {
        const lost = (): void => reject(new AppError('link_lost', 'the link was lost'));
        closed.signal.addEventListener('abort', lost, { once: true });
        options.signal?.addEventListener('abort', () => reject(new AppError('cancelled', 'cancelled')), { once: true });
        if (closed.signal.aborted) lost();
        this.#serve(method, params, options).then(resolve, reject);
      });
    const peer = {
      call: answer,
      notify: (_method: string, params: { seq: number }) => void this.acked.push(params.seq),
      closed: closed.signal,
      lastHeardMs: 0,
      close: () => Promise.resolve(closed.abort()),
    } as unknown as Peer<AgentMethods>;
    this.#link.onUp?.(peer);
  }

  down(): void {
    this.#emit = undefined;
    this.#closed?.abort();
    this.#link.onDown?.(new AppError('link_lost', 'the link was lost'));
  }

  /** Sets the routes and pushes them as one delta. */
  push(...routes: Route[]): void {
    for (const route of routes) this.routes.set(route.app, route);
    this.emit({ kind: 'delta', seq: ++this.seq, upsert: routes, remove: [] });
  }

  remove(...apps: string[]): void {
    for (const app of apps) this.routes.delete(app);
    this.emit({ kind: 'delta', seq: ++this.seq, upsert: [], remove: apps });
  }

  /** Calls `targets.release` as the agent does. @returns what is left on the targets. */
  async release(app: string, targets: string[], waitMs: number): Promise<{ inFlight: number; upgraded: number }> {
    const { inFlight, upgraded } = await this.released(app, targets, waitMs);
    return { inFlight, upgraded };
  }

  /** The same, with what is not reported yet. */
  async released(app: string, targets: string[], waitMs: number): Promise<ResultOf<RouterMethods['targets.release']>> {
    if (this.handlers === undefined) throw new Error('not dialled');
    const signal = new AbortController().signal;
    const context = { identity: { name: 'agent', scopes: [] }, signal, emit: () => Promise.resolve(), peer: undefined };
    return this.handlers['targets.release']({ app, targets, waitMs }, context);
  }

  emit(item: RoutesItem): void {
    this.#emit?.(item);
  }

  async #serve(method: string, params: unknown, options: { signal?: AbortSignal; onItem?: unknown }): Promise<unknown> {
    switch (method) {
      case 'routes.watch':
        this.watches += 1;
        this.#emit = options.onItem as (item: RoutesItem) => void;
        this.seq += 100;
        this.emit({ kind: 'snapshot', seq: this.seq, routes: [...this.routes.values()], more: false });
        return new Promise(() => undefined);
      case 'versions.ensure': {
        const { cause, ...asked } = params as EnsureParams & { cause?: WakeCause };
        this.ensures.push(asked);
        this.causes.push(cause);
        await this.onEnsure(asked, options.signal, options.onItem as (progress: EnsureProgress) => void);
        return { app: asked.app, version: asked.version, targets: 1, timings: { buildMs: null, rolloutMs: null } };
      }
      case 'activity.report':
        this.reports.push((params as { apps: FakeAgent['reports'][number] }).apps);
        await this.onReport();
        return {};
      default:
        throw new AppError('method_not_found', method);
    }
  }
}

export function routeOf(app: string, serving: Route['serving'], more: Partial<Route> = {}): Route {
  return {
    app,
    host: '',
    path: `/${app}`,
    stripPath: true,
    // Most tests call the path itself, and mean the app.
    addSlash: false,
    version: 1,
    serving,
    holdMaxCalls: 5_000,
    holdTimeoutMs: 60_000,
    maxConcurrency: 0,
    ...more,
  };
}

export const asleep: Route['serving'] = { state: 'hold', reason: 'asleep' };

export function ready(...targets: Target[]): Route['serving'] {
  return { state: 'ready', targets, pending: null, timings: { buildMs: 12, rolloutMs: 34, pullMs: 20, startMs: 14 } };
}

export interface Upstream extends Target {
  readonly server: Server;
  /** As a kill does: every connection is reset, the port refuses. */
  kill(): Promise<void>;
}

/** A real server on a free port, closed after the test. */
export async function startUpstream(t: TestContext, id: string, listener: RequestListener): Promise<Upstream> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const kill = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  t.after(kill);
  return { id, host: '127.0.0.1', port: (server.address() as AddressInfo).port, server, kill };
}

/** Address only, as the protocol wants it. */
export function targetOf({ id, host, port }: Target): Target {
  return { id, host, port };
}

/** A port that refuses connections. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What lies between the clients of the tests and the router, in files that run the tests of others again. */
export interface Front {
  readonly config: Partial<RouterDeps['config']>;
  /** @returns the port that leads to the router's. */
  lead(t: TestContext, port: number): Promise<number>;
}

/** The front of the tests that are defined inside its `run`; without it clients call the router itself. */
export const fronts = new AsyncLocalStorage<Front>();

/** Of the client, as apps are told. */
export function clientScheme(): 'http' | 'https' {
  return fronts.getStore() === undefined ? 'http' : 'https';
}

export interface RouterUnderTest {
  readonly router: Router;
  readonly agent: FakeAgent;
  readonly port: number;
  readonly registry: Registry;
}

export async function startTestRouter(
  t: TestContext,
  options: {
    config?: Partial<RouterDeps['config']>;
    clock?: Clock;
    routes?: Route[];
    link?: 'up' | 'down';
    accessLog?: RouterDeps['accessLog'];
    log?: Log;
  } = {},
): Promise<RouterUnderTest> {
  const front = fronts.getStore();
  const agent = new FakeAgent();
  for (const route of options.routes ?? []) agent.routes.set(route.app, route);
  const registry = new Registry();
  const router = await startRouter({
    config: {
      listen_host: '127.0.0.1',
      listen_port: 0,
      name: 'router-test',
      directory: false,
      on_agent_loss: 'serve',
      lease_secs: 10,
      hold_max_calls: 10_000,
      max_connections: 20_000,
      max_connections_per_client: 0,
      max_header_bytes: 16_384,
      max_header_fields: 256,
      max_trailer_bytes: 8_192,
      read_ahead_max_bytes: 67_108_864,
      stream_buffer_bytes: 65_536,
      stream_buffers_max_bytes: 25_165_824,
      max_waiting_streams: 1_000,
      max_upstream_sockets: 1_000,
      max_idle_upstream_sockets: 256,
      trusted_proxies: [],
      drop_client_fields: [],
      pass_client_fields: [],
      drain_delay_secs: 0,
      drain_timeout_secs: 10,
      upstream_connect_timeout_ms: 2_000,
      upstream_headers_timeout_secs: 30,
      request_headers_timeout_secs: 30,
      request_timeout_secs: 60,
      request_stall_timeout_secs: 30,
      request_min_bytes_per_sec: 500,
      response_stall_timeout_secs: 30,
      keep_alive_timeout_secs: 75,
      tls: tlsConfig.parse(undefined),
      http2: true,
      http2_max_connections: 1_000,
      http2_max_calls: 5_000,
      http2_max_streams: 100,
      http2_max_session_memory_mib: 10,
      http2_reset_burst: 1_000,
      http2_resets_per_sec: 33,
      ...front?.config,
      ...options.config,
    },
    dial: agent.dial,
    registry,
    log: options.log ?? silentLog,
    ...(options.clock === undefined ? undefined : { clock: options.clock }),
    accessLog: options.accessLog,
  });
  t.after(() => router.close());
  if (options.link !== 'down') agent.up();
  const port = front === undefined ? router.port : await front.lead(t, router.tlsPort ?? 0);
  return { router, agent, port, registry };
}

export interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly trailers: IncomingMessage['trailers'];
  readonly body: string;
  /** Whether the answer came to its proper end. */
  readonly complete: boolean;
}

/** One call on a connection of its own unless an agent is given. Rejects when there is no answer. */
export function call(port: number, path: string, options: RequestOptions & { body?: string } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { body, ...rest } = options;
    const req = request({ host: '127.0.0.1', port, path, agent: false, ...rest }, (res) => {
      const chunks: Buffer[] = [];
      res.on('data', (chunk: Buffer) => chunks.push(chunk));
      res.on('error', () => undefined);
      res.on('close', () =>
        resolve({
          status: res.statusCode ?? 0,
          headers: res.headers,
          rawHeaders: res.rawHeaders,
          trailers: res.trailers,
          body: Buffer.concat(chunks).toString(),
          complete: res.complete,
        }),
      );
    });
    req.on('error', reject);
    req.end(body);
  });
}

/** @returns NaN where the metric has no value yet. */
export async function metric({ registry }: Pick<RouterUnderTest, 'registry'>, name: string): Promise<number> {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await registry.metrics())?.[1]);
}

/** Waits for a metric to be as it should. */
export function untilMetric(
  router: Pick<RouterUnderTest, 'registry'>,
  name: string,
  condition: (value: number) => boolean,
  withinMs = 10_000,
): Promise<void> {
  return until(async () => condition(await metric(router, name)), name, { withinMs });
}
