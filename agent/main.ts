/** The agent process: builds every part, leads while it is elected, and ends in order on SIGTERM. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { AppError, toAppError } from '../shared/errors.ts';
import { createLog } from '../shared/log.ts';
import { startAdminServer } from '../shared/net/admin-server.ts';
import { systemClock } from '../shared/wait/clock.ts';
import { Leader } from './compose/leader.ts';
import { openPlatform } from './compose/platform.ts';
import { createRpc } from './compose/rpc.ts';
import { createAudit } from './audit/audit.ts';
import { openStores } from './compose/stores.ts';
import { loadAgentConfig } from './config/config.ts';
import { createMetrics } from './metrics.ts';
import { createAddresses } from './routes/addresses.ts';
import { createSources } from './source/create-sources.ts';

async function run(stop: AbortSignal): Promise<void> {
  const { env } = process;
  const { values } = parseArgs({ options: { config: { type: 'string' } } });
  const config = loadAgentConfig({ file: values.config ?? env.HOLDFAST_CONFIG, env });
  const log = createLog({ component: 'agent', level: config.system.log_level });
  const clock = systemClock;

  const stores = openStores({ config, log });
  const sources = await createSources({
    config: config.source,
    auths: config.git_auth,
    uploads: stores.uploads,
    cacheDir: join(config.system.data_dir, 'source-cache'),
    env,
    log,
    clock,
  });
  const metrics = createMetrics({ current: () => leader.current, images: () => images });
  const { platform, election, images, endpoints } = await openPlatform({
    config,
    env,
    sources,
    builds: stores.builds,
    onBuildEnded: metrics.buildEnded,
    log,
    clock,
  });
  const addresses = createAddresses(config.system, {
    hosts: [config.registry.url ?? []].flat().map((host) => host.replace(/:\d+$/, '')),
    defaults: config.app_config,
  });
  const leader = new Leader({
    config,
    stores,
    platform,
    sources,
    addresses,
    metrics: metrics.versions,
    election,
    clock,
    log,
  });
  const audit = createAudit({ store: stores.audit, clock, wallMs: Date.now, log });
  const rpc = createRpc({ config, leader, platform, stores, images, addresses, endpoints, audit, clock, log });

  const { listen_host: host, listen_port, admin_port } = config.system;
  const port = await rpc.listen({ host, port: listen_port });
  const admin = await startAdminServer({
    host,
    port: admin_port,
    registry: metrics.registry,
    live: () => election.live?.() ?? { ok: true, reason: 'ok' },
    // A standby is ready too: it can take over. Clients find the leader by the label that it sets on its pod.
    ready: () => {
      if (stop.aborted) return { ok: false, reason: 'stopping' };
      const { trouble } = leader;
      if (trouble !== undefined) return { ok: false, reason: trouble.message };
      return { ok: true, reason: leader.current ? 'leader' : 'standby' };
    },
  });
  log.info({ port, adminPort: admin.port, platform: platform.name, holder: config.kubernetes.pod_name }, 'listens');

  await election.run(stop, (lost) => leader.lead(lost, () => rpc.dropLinks('not_leader')));
  await rpc.close();
  await audit.close();
  await platform.close();
  await sources.close();
  await stores.close();
  await admin.close();
  log.info('stopped');
}

const stopping = new AbortController();
function stop(): void {
  if (stopping.signal.aborted) process.exit(1); // the second signal ends the process at once
  stopping.abort(new AppError('cancelled', 'the agent was asked to stop'));
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
// Only a child of `holdfast start` has a channel: the agent ends with its parent.
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
