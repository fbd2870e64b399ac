/** The router: `node router/main.ts [--config FILE]`, one process or several. */
import cluster from 'node:cluster';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { collectDefaultMetrics, Registry } from '@prometheus-io/client';
import { startAdminServer } from '../shared/net/admin-server.ts';
import { toAppError } from '../shared/errors.ts';
import { createLog, type Log } from '../shared/log.ts';
import { defaultLimits } from '../shared/rpc/limits.ts';
import { createLink } from '../shared/rpc/link.ts';
import { placesWithin } from './client/places.ts';
import { loadRouterConfig, type RouterConfig } from './config.ts';
import { openStandardOutput } from './telemetry/line-writer.ts';
import { startRouter, type Router, type RouterDeps } from './router.ts';
import { indexVariable, lateVariable, type ToWorker } from './workers/messages.ts';
import { startWorkers } from './workers/primary.ts';
import { configOfWorker, routeOfWorker } from './workers/shares.ts';
import { serveFirstProcess } from './workers/worker.ts';

const orphaned = 'parent gone';

async function run(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' } } });
  const loaded = loadRouterConfig({ file: values.config ?? process.env['HOLDFAST_CONFIG'], env: process.env });
  const workers = loaded.workers === 0 ? availableParallelism() : loaded.workers;
  const places =
    loaded.max_connections === 0 ? placesWithin(process.constrainedMemory(), workers) : loaded.max_connections;
  const config = { ...loaded, max_connections: places };
  const log = createLog({ component: 'router', level: config.log_level });
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  if (cluster.isWorker) await runWorker(config, workers, log, registry);
  else if (workers > 1) await runFirst(config, workers, log, registry);
  else await runAlone(config, log, registry);
}

function open(
  config: RouterConfig,
  more: Pick<RouterDeps, 'log' | 'registry' | 'adaptRoute' | 'late'>,
): Promise<Router> {
  const leaseMs = config.lease_secs * 1_000;
  const limits = { leaseMs, heartbeatMs: Math.min(defaultLimits.heartbeatMs, leaseMs / 4) };
  return startRouter({
    ...more,
    config,
    accessLog: config.access_log ? openStandardOutput() : undefined,
    dial: (options) => createLink({ ...options, url: config.agent_url, token: config.token, limits }),
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

async function runFirst(config: RouterConfig, count: number, log: Log, registry: Registry): Promise<void> {
  const workers = await startWorkers({ config, workers: count, log, registry });
  const { port, tlsPort, adminPort } = workers;
  log.info({ port, tlsPort, adminPort, name: config.name, workers: count }, 'listening');
  endOnSignals(log, () => workers.drain());
}

/** Ends by the word of the first process, and, by `node:cluster`, with it. */
async function runWorker(config: RouterConfig, workers: number, parentLog: Log, registry: Registry): Promise<void> {
  const index = Number(process.env[indexVariable]);
  const place = { index, workers };
  const log = parentLog.child({ worker: index + 1 });
  // Until there is something to drain.
  let end = (): void => process.exit(0);
  // Of a terminal, which tells the first process too.
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
  serveFirstProcess(process, router, registry);
}

function endOnSignals(log: Log, drain: () => Promise<void>): void {
  let asked = false;
  const drainOnce = ending(log, drain);
  const end = (why: string): void => {
    if (asked) process.exit(1); // Asked twice: at once.
    asked = true;
    drainOnce(why);
  };
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  // Embedded: the process that started this one is gone.
  process.on('disconnect', () => {
    if (!asked) end(orphaned);
  });
}

/** @returns what drains, once, and ends the process. */
function ending(log: Log, drain: () => Promise<void>): (why: string) => void {
  let begun = false;
  return (why) => {
    if (begun) return;
    begun = true;
    log.info({ why }, 'ending');
    drain().then(
      () => {
        // Exit soon after the start was seen to hang in the runtime's teardown (Node 24.21, under load). An orphan has
        // nobody to read its exit code, and nobody to kill it either.
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
  // Before the log is there: what is wrong with the configuration, or with the port.
  process.stderr.write(`holdfast router: ${toAppError(error).message}\n`);
  process.exitCode = 1;
  // The channel to the first process would keep it.
  if (cluster.isWorker) process.exit();
}
