/**
 * The contract on a real cluster, in a namespace of the suite's own: KUBECONFIG names the cluster, HOLDFAST_TEST_REGISTRY
 * (host:port, plain HTTP) the registry that has the images library/test-app:1 and :2.
 */
import { randomBytes } from 'node:crypto';
import { after, before } from 'node:test';
import { loadKubeAccess } from '../../agent/platform/kubernetes/access.ts';
import { createKubeApi, type KubeApi } from '../../agent/platform/kubernetes/api.ts';
import { selectorOf } from '../../agent/platform/kubernetes/names.ts';
import { createKubernetesPlatform } from '../../agent/platform/kubernetes/platform.ts';
import type { Platform } from '../../agent/platform/platform.ts';
import { createRegistry } from '../../agent/registry/registry.ts';
import { silentLog } from '../../shared/log.ts';
import { platformContract } from './platform-contract.ts';

const { env } = process;
const kubeconfig = env['KUBECONFIG'];
const registryHost = env['HOLDFAST_TEST_REGISTRY'];
const skip = kubeconfig === undefined || registryHost === undefined;
const namespace = `contract-${randomBytes(4).toString('hex')}`;
const deadlines = { startMs: 60_000, failMs: 15_000, stopMs: 60_000 };

interface Pods {
  readonly items: readonly {
    readonly metadata: { readonly deletionTimestamp?: string };
    readonly status: { readonly phase: string };
  }[];
}

if (!skip) {
  before(async () => {
    await withApi(async (api) => {
      const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } };
      await api.request({ method: 'POST', path: '/api/v1/namespaces', body, signal: AbortSignal.timeout(20_000) });
    });
  });
  after(async () => {
    await withApi(async (api) => {
      const path = `/api/v1/namespaces/${namespace}`;
      await api.request({ method: 'DELETE', path, signal: AbortSignal.timeout(20_000) });
    });
  });
}

platformContract({
  name: 'kubernetes',
  skip: skip ? 'KUBECONFIG and HOLDFAST_TEST_REGISTRY name no cluster' : false,
  outlivesAgent: true,
  volumes: true,
  deadlines,
  async create() {
    const api = await createApi();
    const registry = createRegistry({ own: { host: registryHost ?? '', insecure: true } });
    const open: Platform[] = [];
    const another = async (): Promise<Platform> => {
      const platform = createKubernetesPlatform({
        api,
        appsNamespace: namespace,
        imagePullSecrets: [],
        registry,
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
      missing: { spec: image('no-such-tag'), code: 'image_not_found' },
      unsupported: { source: '/somewhere' },
      async running(app) {
        const path = `/api/v1/namespaces/${namespace}/pods`;
        const query = { labelSelector: selectorOf(app) };
        const pods = await api.request<Pods>({ method: 'GET', path, query, signal: AbortSignal.timeout(10_000) });
        const isOver = (phase: string): boolean => phase === 'Succeeded' || phase === 'Failed';
        return pods.items.filter((pod) => pod.metadata.deletionTimestamp === undefined && !isOver(pod.status.phase))
          .length;
      },
      async dispose(apps) {
        // Closed first: two that are in charge at once would repair what the other removes.
        await Promise.all(open.map((platform) => platform.close()));
        const cleaner = await another();
        for (const app of apps) {
          await cleaner.remove(app, { volumes: true, signal: AbortSignal.timeout(deadlines.stopMs) });
        }
        await cleaner.close();
        await registry.close();
        await api.close();
      },
    };
  },
});

async function createApi(): Promise<KubeApi> {
  return createKubeApi({ access: await loadKubeAccess({ kubeconfig, env }) });
}

async function withApi(use: (api: KubeApi) => Promise<void>): Promise<void> {
  const api = await createApi();
  try {
    await use(api);
  } finally {
    await api.close();
  }
}
