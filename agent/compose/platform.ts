/** Builds the platform that `container_command` chooses, and the leader election and images that go with it. */
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import type { AgentConfig } from '../config/config.ts';
import { createNoImages } from '../images/images.ts';
import { alwaysElected } from '../leader/election.ts';
import type { AgentMetrics } from '../metrics.ts';
import { createProcessPlatform } from '../platform/process/platform.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildStore } from '../store/build-store.ts';
import type { Kubernetes } from './kubernetes.ts';

interface OpenPlatformDeps {
  readonly config: AgentConfig;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly sources: Sources;
  readonly builds: BuildStore;
  readonly onBuildEnded: AgentMetrics['buildEnded'];
  readonly log: Log;
  readonly clock: Clock;
}

/** @throws AppError config_invalid when the data folder, or the access to Kubernetes, cannot be used. */
export async function openPlatform(deps: OpenPlatformDeps): Promise<Kubernetes> {
  const { config, env, sources, log, clock } = deps;
  if (config.system.container_command === 'process') {
    const dataDir = config.system.data_dir;
    const platform = await createProcessPlatform({ dataDir, sources, nodePath: process.execPath, env, log, clock });
    return { platform, election: alwaysElected, images: createNoImages(), endpoints: [] };
  }
  // Imported only where it is used: the Kubernetes client is large.
  const { createKubernetes } = await import('./kubernetes.ts');
  return await createKubernetes(deps);
}
