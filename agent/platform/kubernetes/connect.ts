/** Joins configuration, API server, platform and election: what the agent needs where its apps run on Kubernetes. */
import { readFile } from 'node:fs/promises';
import { AppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import { systemClock } from '../../../shared/clock.ts';
import type { AgentConfig } from '../../config/config.ts';
import type { Election } from '../../leader/election.ts';
import { createLeaderLabel } from '../../leader/leader-label.ts';
import { createLeaseElection } from '../../leader/lease.ts';
import { createNoImages } from '../../build/no-images.ts';
import { createRegistry, type Registry } from '../../registry/registry.ts';
import type { Platform } from '../platform.ts';
import { loadKubeAccess } from './access.ts';
import { createKubeApi } from './api.ts';
import { createKubernetesPlatform } from './platform.ts';

/** @throws AppError config_invalid where neither a kubeconfig nor the service account of a pod is there. */
export async function createKubernetes(
  config: Pick<AgentConfig, 'kubernetes' | 'registry'>,
  log: Log,
): Promise<{ platform: Platform; election: Election }> {
  const { kubernetes } = config;
  const clock = systemClock;
  const access = await loadKubeAccess({ kubeconfig: kubernetes.kubeconfig, env: process.env });
  const api = createKubeApi({ access });
  // The lease waits behind nothing else.
  const leaseApi = createKubeApi({ access, maxRequests: 2 });
  const registry = await registryOf(config.registry);
  const platform = createKubernetesPlatform({
    api,
    appsNamespace: kubernetes.apps_namespace,
    imagePullSecrets: kubernetes.image_pull_secrets,
    registry,
    sources: { resolve: () => Promise.reject(new AppError('source_unsupported', 'not built yet')) },
    images: createNoImages(),
    log,
    clock,
  });
  const own = { api: leaseApi, namespace: kubernetes.namespace, log, clock };
  const lease = createLeaseElection({ ...own, leaseName: kubernetes.lease_name, identity: kubernetes.pod_name });
  const label = createLeaderLabel({ ...own, podName: kubernetes.pod_name });
  return {
    platform: {
      ...platform,
      async close() {
        await platform.close();
        await registry.close();
        await api.close();
        await leaseApi.close();
      },
    },
    election: {
      live: () => lease.live(),
      async run(signal, lead) {
        // Left by a container of this pod that led and was killed.
        await label.clear();
        await lease.run(signal, async (lost) => {
          const labelled = label.claim(lost);
          // Nothing is repaired any more from the moment another agent may lead.
          const letGo = (): void => platform.letGo();
          lost.addEventListener('abort', letGo, { once: true });
          try {
            await lead(lost);
          } finally {
            lost.removeEventListener('abort', letGo);
            platform.letGo();
            await labelled;
            await label.clear();
          }
        });
      },
    },
  };
}

async function registryOf(config: AgentConfig['registry']): Promise<Registry> {
  if (config.url === undefined) return createRegistry({ own: undefined });
  const { url: host, insecure, username, password, ca_file } = config;
  const ca = ca_file === undefined ? undefined : await readFile(ca_file, 'utf8');
  return createRegistry({ own: { host, insecure, username, password, ca } });
}
