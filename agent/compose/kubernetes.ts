/** Builds what the agent needs when its apps run on Kubernetes: API access, platform, images and leader election. */
import { onAbort } from '../../shared/wait/abort.ts';
import type { Log } from '../../shared/log.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import type { AgentConfig } from '../config/config.ts';
import type { Election } from '../leader/election.ts';
import { createLeaderLabel } from '../leader/leader-label.ts';
import { createLeaseElection } from '../leader/lease.ts';
import { connectImages, type ConnectedImages } from './images.ts';
import type { EndState } from '../images/build-journal.ts';
import type { PullSecret } from '../platform/kubernetes/pull-secret.ts';
import { connectRegistry, type ConnectedRegistry } from './registry.ts';
import type { Sources } from '../source/sources.ts';
import type { BuildStore } from '../store/build-store.ts';
import type { Platform } from '../platform/platform.ts';
import { createKubeApi } from '../kube/api.ts';
import { loadClusterConfig } from '../kube/cluster-config.ts';
import { createKubernetesPlatform } from '../platform/kubernetes/platform.ts';

interface KubernetesDeps {
  readonly config: Pick<AgentConfig, 'kubernetes' | 'registry' | 'registries' | 'builder' | 'source'>;
  readonly sources: Sources;
  readonly builds: BuildStore;
  readonly onBuildEnded: (state: EndState, seconds: number | undefined) => void;
  readonly log: Log;
}

export interface Kubernetes extends ConnectedImages {
  /** Closes the images too. */
  readonly platform: Platform;
  readonly election: Election;
}

/** @throws AppError config_invalid when there is neither a kubeconfig nor a service account of a pod, or a file cannot be read. */
export async function createKubernetes(deps: KubernetesDeps): Promise<Kubernetes> {
  const { config, sources, builds, onBuildEnded, log } = deps;
  const { kubernetes } = config;
  const clock = systemClock;
  const cluster = loadClusterConfig({ kubeconfig: kubernetes.kubeconfig, env: process.env });
  const api = createKubeApi({ config: cluster, clock });
  // Requests about the lease never wait for others.
  const leaseApi = createKubeApi({ config: cluster, clock, maxRequests: 2 });
  const buildApi = createKubeApi({ config: cluster, clock });
  const connected = await connectRegistry({ config, env: process.env, clock, log });
  const { images, endpoints } = await connectImages({
    config,
    api: buildApi,
    connected,
    sources,
    store: builds,
    onEnded: onBuildEnded,
    clock,
    log,
  });
  const platform = createKubernetesPlatform({
    api,
    appsNamespace: kubernetes.apps_namespace,
    imagePullSecrets: kubernetes.image_pull_secrets,
    pullSecret: await pullSecretOf(connected, kubernetes.lease_name),
    registry: connected.registry,
    sources,
    images,
    log,
    clock,
  });
  const own = { api: leaseApi, namespace: kubernetes.namespace, log, clock };
  const lease = createLeaseElection({ ...own, leaseName: kubernetes.lease_name, identity: kubernetes.pod_name });
  const label = createLeaderLabel({ ...own, podName: kubernetes.pod_name });
  return {
    images,
    endpoints,
    platform: {
      ...platform,
      async close() {
        await images.close();
        await platform.close();
        await connected.close();
        await buildApi.close();
        await api.close();
        await leaseApi.close();
      },
    },
    election: {
      live: () => lease.live(),
      trouble: () => lease.trouble(),
      async run(signal, lead) {
        // A container of this pod that led and was killed leaves the label behind.
        await label.clear();
        await lease.run(signal, async (lost) => {
          const labelled = label.claim(lost);
          // From the moment another agent may lead, nothing is repaired.
          using _listener = onAbort(lost, () => platform.releaseLead());
          try {
            await lead(lost);
          } finally {
            platform.releaseLead();
            await labelled;
            await label.clear();
          }
        });
      },
    },
  };
}

/** The pull secret of app pods for the `[[registries]]` with credentials; none if there are none. */
async function pullSecretOf(
  { credentials, hostsWithLogin }: ConnectedRegistry,
  leaseName: string,
): Promise<PullSecret | undefined> {
  if (hostsWithLogin.length === 0) return undefined;
  const dockerConfig = await credentials.dockerConfig(hostsWithLogin, new AbortController().signal);
  return { name: `${leaseName}-registries`, dockerConfig };
}
