/** The router process: `node router/main.ts [--config FILE]`. */
import { parseArgs } from 'node:util';
import { collectDefaultMetrics, Registry } from '@prometheus-io/client';
import { startAdminServer } from '../shared/admin-server.ts';
import { toAppError } from '../shared/errors.ts';
import { createLog } from '../shared/log.ts';
import { defaultLimits } from '../shared/rpc/limits.ts';
import { createLink } from '../shared/rpc/link.ts';
import { loadRouterConfig } from './config.ts';
import { openStandardOutput } from './line-writer.ts';
import { startRouter } from './router.ts';

const orphaned = 'parent gone';

async function run(): Promise<void> {
  const { values } = parseArgs({ options: { config: { type: 'string' } } });
  const config = loadRouterConfig({ file: values.config ?? process.env['HOLDFAST_CONFIG'], env: process.env });
  const log = createLog({ component: 'router', level: config.log_level });
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const leaseMs = config.lease_secs * 1_000;
  const limits = { leaseMs, heartbeatMs: Math.min(defaultLimits.heartbeatMs, leaseMs / 4) };
  const router = await startRouter({
    config,
    log,
    registry,
    accessLog: config.access_log ? openStandardOutput() : undefined,
    dial: (options) => createLink({ ...options, url: config.agent_url, token: config.token, limits }),
  });
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
  log.info({ port: router.port, adminPort: admin.port, name: config.name }, 'listening');

  let ending = false;
  const end = (why: string): void => {
    if (ending) process.exit(1); // Asked twice: at once.
    ending = true;
    log.info({ why }, 'ending');
    router
      .drain()
      .then(() => admin.close())
      .then(
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
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  // Embedded: the process that started this one is gone.
  process.on('disconnect', () => {
    if (!ending) end(orphaned);
  });
}

try {
  await run();
} catch (error) {
  // Before the log is there: what is wrong with the configuration, or with the port.
  process.stderr.write(`holdfast router: ${toAppError(error).message}\n`);
  process.exitCode = 1;
}
