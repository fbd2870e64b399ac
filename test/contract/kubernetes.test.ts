/**
 * The contract on a real cluster, in a namespace of the suite's own: KUBECONFIG names the cluster, HOLDFAST_TEST_REGISTRY
 * (host:port, plain HTTP) the registry that has the images library/test-app:1 and :2.
 */
import { randomBytes } from 'node:crypto';
import { after, before } from 'node:test';
import { createKubeApi } from '../../agent/kube/api.ts';
import { loadClusterConfig } from '../../agent/kube/cluster-config.ts';
import { selectorOf } from '../../agent/platform/kubernetes/manifests/names.ts';
import { createKubernetesPlatform } from '../../agent/platform/kubernetes/platform.ts';
import type { Platform } from '../../agent/platform/platform.ts';
import { createRegistry } from '../../agent/registry/registry.ts';
import { silentLog } from '../../shared/log.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { kubeRequest } from '../support/kube-request.ts';
import { createBuiltImages } from './built-images.ts';
import { platformContract } from './platform-contract.ts';

const { env } = process;
const kubeconfig = env['KUBECONFIG'];
const registryHost = env['HOLDFAST_TEST_REGISTRY'];
const skip = kubeconfig === undefined || registryHost === undefined;
const namespace = `contract-${randomBytes(4).toString('hex')}`;
const deadlines = { startMs: 60_000, failMs: 15_000, stopMs: 60_000 };

const core = `/api/v1/namespaces/${namespace}`;
const collections = [
  `/apis/autoscaling/v2/namespaces/${namespace}/horizontalpodautoscalers`,
  `/apis/apps/v1/namespaces/${namespace}/deployments`,
  ...['services', 'secrets', 'configmaps', 'persistentvolumeclaims'].map((kind) => `${core}/${kind}`),
];

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly deletionTimestamp?: string };
    readonly status: { readonly phase: string };
  }[];
}

if (!skip) {
  before(async () => {
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
    await kubeRequest({ method: 'POST', path: '/api/v1/namespaces', body });
  });
  after(async () => {
    await kubeRequest({ method: 'DELETE', path: core });
  });
}

platformContract({
  name: 'kubernetes',
  skip: skip ? 'KUBECONFIG and HOLDFAST_TEST_REGISTRY name no cluster' : false,
  outlivesAgent: true,
  volumes: true,
  deadlines,
  async create() {
    const api = createKubeApi({ config: loadClusterConfig({ kubeconfig, env }), clock: systemClock });
    const registry = createRegistry({ own: { host: registryHost ?? '', insecure: true } });
    const built = await createBuiltImages(registryHost ?? '', registry);
    const open: Platform[] = [];
    const another = async (): Promise<Platform> => {
      const platform = createKubernetesPlatform({
        api,
        appsNamespace: namespace,
        imagePullSecrets: [],
        registry,
        sources: built.sources,
        images: built.images,
        log: silentLog,
      });
      open.push(platform);
      return platform;
    };
    const image = (tag: string): { image: string } => ({ image: `${registryHost}/library/test-app:${tag}` });
    return {
      platform: await another(),
      another,
      content: (content) => image(String(content)),
      buildable: async (kind) => built.buildable(kind),
      missing: { spec: image('no-such-tag'), code: 'image_not_found' },
      unsupported: { source: '/somewhere' },
      async running(app) {
        const query = new URLSearchParams({ labelSelector: selectorOf(app) });
        const pods = await kubeRequest<Pods>({ method: 'GET', path: `${core}/pods?${query.toString()}` });
        const isOver = (phase: string): boolean => phase === 'Succeeded' || phase === 'Failed';
        return pods.items.filter((pod) => pod.metadata.deletionTimestamp === undefined && !isOver(pod.status.phase))
          .length;
      },
      async dispose(apps) {
        await Promise.all(open.map((platform) => platform.close()));
        await built.close();
        // Not by the platform's `remove`, which waits until the pods are gone: the next test need not.
        for (const app of apps) {
          for (const path of collections) {
            const query = new URLSearchParams({ labelSelector: selectorOf(app), propagationPolicy: 'Background' });
            await kubeRequest({ method: 'DELETE', path: `${path}?${query.toString()}` });
          }
        }
        await registry.close();
        await api.close();
      },
    };
  },
});
