/** The agent process: builds every part, leads while it is elected, and ends in order on SIGTERM. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { startAdminServer } from '../shared/net/admin-server.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { createLog, type Log } from '../shared/log.ts';
import { agentMethods, routerMethods } from '../shared/protocol/methods.ts';
import { release } from '../shared/release.ts';
import { sleep } from '../shared/wait/sleep.ts';
import { systemClock, type Clock } from '../shared/wait/clock.ts';
import { loadAgentConfig, type AgentConfig } from './config/config.ts';
import { alwaysElected, type Election } from './leader/election.ts';
import { createHandlers, type HandlerDeps } from './handlers/handlers.ts';
import { routeNotifications } from './handlers/routes.ts';
import { takeLead, type Leadership } from './leadership.ts';
import type { Images } from './images/images.ts';
import { createNoImages } from './images/no-images.ts';
import { createMetrics, type AgentMetrics } from './metrics.ts';
import type { Platform } from './platform/platform.ts';
import { createProcessPlatform } from './platform/process/platform.ts';
import type { HttpEndpoint } from './rpc/endpoint.ts';
import { createRpcServer } from './rpc/server.ts';
import { createSources, sourceLimits } from './source/create-sources.ts';
import type { Sources } from './source/sources.ts';
import { createUploadEndpoint } from './source/upload-endpoint.ts';
import { createUploads } from './source/uploads.ts';
import { createWebhookEndpoint } from './source/webhook-endpoint.ts';
import { createAppStore } from './store/app-store.ts';
import { createBuildStore, type BuildStore } from './store/build-store.ts';
import { openDatabase } from './store/database.ts';
import { createEventStore } from './store/event-store.ts';
import { migrate } from './store/migrate.ts';
import { createUploadStore } from './store/upload-store.ts';

const retryMs = 1_000;

async function run(stop: AbortSignal): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' } } });
  const file = values.config ?? process.env.HOLDFAST_CONFIG;
  const config = loadAgentConfig({ file, env: process.env });
  const log = createLog({ component: 'agent', level: config.system.log_level });
  const clock = systemClock;
  const holder = config.kubernetes.pod_name;

  const db = openDatabase({ connectionString: config.metadata.db_connection, maxConnections: 4, log });
  const store = createAppStore({ db });
  let leadership: Leadership | undefined;
  const uploadStore = createUploadStore({ db, keepVersions: config.registry.keep_versions });
  const sources = await createSources({
    config: config.source,
    auths: config.git_auth,
    uploads: uploadStore,
    cacheDir: join(config.system.data_dir, 'source-cache'),
    env: process.env,
    log,
    clock,
  });
  const metrics = createMetrics({ current: () => leadership, images: () => images });
  const { platform, election, images, endpoints } = await createPlatform({
    config,
    sources,
    builds: createBuildStore({ db }),
    onBuildEnded: (state, seconds) => metrics.buildEnded(state, seconds),
    log,
  });

  const { listen_host: host, listen_port, admin_port, router_lease_secs } = config.system;
  const routerLeaseMs = router_lease_secs * 1_000;

  const leading = (): Leadership => {
    if (!leadership) throw new AppError('not_leader', 'this agent is a standby');
    return leadership;
  };
  const deps: HandlerDeps = {
    lead: leading,
    platform,
    store,
    events: createEventStore({ db }),
    images,
    uploads: createUploads({ store: uploadStore, limits: sourceLimits(config.source), clock }),
    holder,
    release,
  };
  const rpc = createRpcServer({
    tokens: config.token,
    local: agentMethods,
    remote: routerMethods,
    handlers: createHandlers(deps),
    notifications: routeNotifications(deps),
    endpoints: [
      ...endpoints,
      createUploadEndpoint({ store: uploadStore }),
      createWebhookEndpoint({
        secret: config.source.webhook_secret,
        apps: () => leading().syncEngine.apps(),
        look: (apps) => leading().sync.look(apps),
      }),
    ],
    limits: { leaseMs: routerLeaseMs, heartbeatMs: Math.min(2_000, routerLeaseMs / 4) },
    isLeader: () => leadership !== undefined,
    log,
  });
  const port = await rpc.listen({ host, port: listen_port });
  const admin = await startAdminServer({
    host,
    port: admin_port,
    registry: metrics.registry,
    live: () => election.live?.() ?? { ok: true, reason: 'ok' },
    // A standby is ready too: it can take over. What leads to the leader is the label that the leader sets.
    ready: () =>
      stop.aborted ? { ok: false, reason: 'stopping' } : { ok: true, reason: leadership ? 'leader' : 'standby' },
  });
  log.info({ port, adminPort: admin.port, platform: platform.name, holder }, 'listens');

  async function lead(lost: AbortSignal): Promise<void> {
    const fenced = new AbortController();
    const signal = AbortSignal.any([lost, fenced.signal]);
    const taken = await untilItWorks(log, clock, signal, 'taking the lead', async () => {
      await migrate(db);
      return takeLead(
        {
          store,
          platform,
          sources,
          uploads: uploadStore,
          syncIntervalMs: config.source.sync_interval_secs * 1_000,
          defaults: config.app_config,
          holder,
          routerLeaseMs,
          metrics: metrics.versions,
          clock,
          log,
          onFenced: (error) => fenced.abort(error),
        },
        signal,
      );
    });
    if (!taken) return;
    leadership = taken;
    // Not waited for: a declaration may wait for routers, and the end of the lead must not.
    const declaring = declareConfigured(taken, config, log, signal);
    await aborted(signal);
    log.info({ epoch: taken.epoch, reason: toAppError(signal.reason).message }, 'no longer leads');
    leadership = undefined;
    await rpc.dropLinks('not_leader');
    await taken.close();
    await declaring;
  }

  await election.run(stop, lead);
  await rpc.close();
  await platform.close();
  await sources.close();
  await db.close();
  await admin.close();
  log.info('stopped');
}

interface PlatformDeps {
  readonly config: AgentConfig;
  readonly sources: Sources;
  readonly builds: BuildStore;
  readonly onBuildEnded: AgentMetrics['buildEnded'];
  readonly log: Log;
}

interface Ground {
  readonly platform: Platform;
  readonly election: Election;
  readonly images: Images;
  readonly endpoints: readonly HttpEndpoint[];
}

async function createPlatform(deps: PlatformDeps): Promise<Ground> {
  const { config, log } = deps;
  if (config.system.container_command === 'process') {
    const platform = await createProcessPlatform({ dataDir: config.system.data_dir, sources: deps.sources, log });
    return { platform, election: alwaysElected, images: createNoImages(), endpoints: [] };
  }
  // Loaded only where it is used: the Kubernetes client is large.
  const { createKubernetes } = await import('./compose/kubernetes.ts');
  return await createKubernetes(deps);
}

/** How many wait for their routers at a time. */
const declaredAtOnce = 50;

/** Apps of the configuration. One that cannot be declared does not keep the others, or the agent, from running. */
async function declareConfigured(
  { engine }: Leadership,
  config: AgentConfig,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  const declare = async (app: AgentConfig['app'][number]): Promise<void> => {
    try {
      await engine.apply([app], false, 'config');
    } catch (error) {
      if (!signal.aborted)
        log.error({ err: toAppError(error), app: app.name }, 'an app of the configuration could not be declared');
    }
  };
  for (let next = 0; next < config.app.length && !signal.aborted; next += declaredAtOnce)
    await Promise.all(config.app.slice(next, next + declaredAtOnce).map(declare));
}

/** Tries again until it works or the signal aborts (then undefined). What no time mends is thrown. */
async function untilItWorks<T>(
  log: Log,
  clock: Clock,
  signal: AbortSignal,
  what: string,
  work: () => Promise<T>,
): Promise<T | undefined> {
  while (!signal.aborted) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) return undefined;
      const failure = toAppError(error);
      if (failure.code === 'config_invalid') throw failure;
      log.warn({ err: failure }, `${what} failed; tries again`);
    }
    await sleep(clock, retryMs, signal); // the loop looks at the signal
  }
  return undefined;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

const stopping = new AbortController();
function stop(): void {
  if (stopping.signal.aborted) process.exit(1); // asked twice: at once
  stopping.abort(new AppError('cancelled', 'the agent was asked to stop'));
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
// Started by `holdfast start`: its end is ours.
if (process.channel)
  process.once('disconnect', () => stopping.abort(new AppError('cancelled', 'the supervisor is gone')));

run(stopping.signal).then(
  () => process.exit(0),
  (error: unknown) => {
    const { code, message } = toAppError(error);
    process.stderr.write(`holdfast agent: ${code}: ${message}\n`);
    if (code === 'internal') process.stderr.write(`${(error as Error).stack}\n`);
    process.exit(1);
  },
);
