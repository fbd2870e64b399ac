/** The router: `node router/main.ts [--config FILE]`, one process or several. */
import { randomUUID } from 'node:crypto';
import cluster from 'node:cluster';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { collectDefaultMetrics, Registry } from '@prometheus-io/client';
import { startAdminServer } from '../shared/net/admin-server.ts';
import { toAppError } from '../shared/errors.ts';
import { createLog, type Log } from '../shared/log.ts';
import { defaultLimits } from '../shared/rpc/limits.ts';
import { createLink } from '../shared/rpc/link.ts';
import { heldCallsWithin, placesWithin } from './client/places.ts';
import { loadRouterConfig, type RouterConfig } from './config.ts';
import { openStandardOutput } from './telemetry/line-writer.ts';
import { startRouter, type Router, type RouterDeps } from './router.ts';
import { indexVariable, lateVariable, type ToWorker } from './workers/messages.ts';
import { startWorkers } from './workers/primary.ts';
import { configOfWorker, routeOfWorker } from './workers/shares.ts';
import { servePrimary } from './workers/worker.ts';

const orphaned = 'parent gone';

async function run(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' } } });
  const loaded = loadRouterConfig({ file: values.config ?? process.env['HOLDFAST_CONFIG'], env: process.env });
  const workers = loaded.workers === 0 ? availableParallelism() : loaded.workers;
  const memoryBytes = process.constrainedMemory();
  const config = {
    ...loaded,
    max_connections: loaded.max_connections || placesWithin(memoryBytes, workers),
    hold_max_calls: loaded.hold_max_calls || heldCallsWithin(memoryBytes, workers),
  };
  const log = createLog({ component: 'router', level: config.log_level });
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  if (cluster.isWorker) await runWorker(config, workers, log, registry);
  else if (workers > 1) await runPrimary(config, workers, log, registry);
  else await runAlone(config, log, registry);
}

function open(
  config: RouterConfig,
  more: Pick<RouterDeps, 'log' | 'registry' | 'adaptRoute' | 'late'>,
): Promise<Router> {
  const leaseMs = config.lease_secs * 1_000;
  const instance = randomUUID();
  const limits = { leaseMs, heartbeatMs: Math.min(defaultLimits.heartbeatMs, leaseMs / 4) };
  return startRouter({
    ...more,
    config,
    accessLog: config.access_log ? openStandardOutput() : undefined,
    dial: (options) => createLink({ ...options, url: config.agent_url, token: config.token, instance, limits }),
  });
}

async function runAlone(config: RouterConfig, log: Log, registry: Registry): Promise<void> {
  const router = await open(config, { log, registry });
  const admin = await startAdminServer({
    host: config.listen_host,
    port: config.admin_port,
    registry,
    ready: () => router.ready(),
    pages: { '/debug/targets': (query) => router.viewTargets(query) },
  }).catch(async (error: unknown) => {
    await router.close();
    throw error;
  });
  log.info({ port: router.port, tlsPort: router.tlsPort, adminPort: admin.port, name: config.name }, 'listening');
  endOnSignals(log, () => router.drain().then(() => admin.close()));
}

async function runPrimary(config: RouterConfig, count: number, log: Log, registry: Registry): Promise<void> {
  const workers = await startWorkers({ config, workers: count, log, registry });
  const { port, tlsPort, adminPort } = workers;
  log.info({ port, tlsPort, adminPort, name: config.name, workers: count }, 'listening');
  endOnSignals(log, () => workers.drain());
}

/** Runs a worker, which ends when the primary says so, or with the primary (by `node:cluster`). */
async function runWorker(config: RouterConfig, workers: number, parentLog: Log, registry: Registry): Promise<void> {
  const index = Number(process.env[indexVariable]);
  const place = { index, workers };
  const log = parentLog.child({ worker: index + 1 });
  // Before the start there is nothing to drain.
  let end = (): void => process.exit(0);
  // A terminal sends it to the primary too, which drains the workers.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => end());
  process.on('message', (message: ToWorker) => {
    if (message.kind === 'drain') end();
  });
  const router = await open(configOfWorker(config, place), {
    log,
    registry,
    adaptRoute: (route) => routeOfWorker(route, place),
    late: process.env[lateVariable] === '1',
  });
  const drain = ending(log, () => router.drain());
  end = () => drain('asked');
  servePrimary(process, router, registry);
}

function endOnSignals(log: Log, drain: () => Promise<void>): void {
  let asked = false;
  const drainOnce = ending(log, drain);
  const end = (why: string): void => {
    if (asked) process.exit(1); // The second signal ends at once.
    asked = true;
    drainOnce(why);
  };
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  // The embedding process (npm start) is gone.
  process.on('disconnect', () => {
    if (!asked) end(orphaned);
  });
}

/** @returns a function that drains, once, and ends the process. */
function ending(log: Log, drain: () => Promise<void>): (why: string) => void {
  let begun = false;
  return (why) => {
    if (begun) return;
    begun = true;
    log.info({ why }, 'ending');
    drain().then(
      () => {
        // An exit soon after the start was seen to hang in the teardown of the runtime (Node 24.21, under load). Nobody reads the exit
        // code of an orphan, and nobody would kill it.
        if (why === orphaned) process.kill(process.pid, 'SIGKILL');
        process.exit(0);
      },
      (error: unknown) => {
        log.error({ err: toAppError(error) }, 'the drain failed');
        process.exit(1);
      },
    );
  };
}

try {
  await run();
} catch (error) {
  // The log may not exist yet: the configuration or a port may be wrong.
  process.stderr.write(`holdfast router: ${toAppError(error).message}\n`);
  process.exitCode = 1;
  // The channel to the primary would keep the process alive.
  if (cluster.isWorker) process.exit();
}
