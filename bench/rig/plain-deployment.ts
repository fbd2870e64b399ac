/** The peer of bench/wake.ts: a plain Deployment of the test app with a Service, scaled from zero to one and back. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KubeApi } from '../../agent/kube/api.ts';
import type { Kinds } from '../../agent/kube/kinds.ts';
import { kubectl } from '../../test/e2e/cluster.ts';
import { testImage } from '../../test/e2e/scenario.ts';
import { callOnce, msBetween } from './callers.ts';
import { watchFirstPod } from './pod-prober.ts';
import type { Bench } from './question.ts';
import { until } from './until.ts';

const plainNamespace = 'holdfast-bench-plain';
const port = 8_080;
const zeroWithinMs = 90_000;
const readyWithinMs = 60_000;
/** How often the Deployment is looked at; what others that poll do is slower. */
const lookEveryMs = 20;
const attemptMs = 2_000;

export interface PlainWake {
  /** From the change of `replicas` to the first answer of the pod on its own address. */
  readonly plainPodMs: number;
  /** From the change of `replicas` to Ready. */
  readonly readyMs: number;
  /** From the change of `replicas` to the answer of the ClusterIP. */
  readonly answeredMs: number;
}

/** @returns what scales the Deployment to one and back, and tells how long the first took. */
export async function startPlain(bench: Bench, api: KubeApi): Promise<() => Promise<PlainWake>> {
  const { signal, folder } = bench;
  bench.after(() => removeNamespaces(plainNamespace));
  const file = join(folder, 'plain.json');
  await writeFile(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: plainObjects() }));
  await kubectl('apply', '-f', file);
  const plain = { namespace: plainNamespace, name: 'plain' };
  const service = await api.read('Service', plain, { signal });
  const clusterIP = service?.spec?.clusterIP ?? '';
  const scale = (replicas: number): Promise<unknown> =>
    api.patch('Deployment', plain, { spec: { replicas } }, { signal });
  return async () => {
    const look = { withinMs: readyWithinMs, everyMs: lookEveryMs, signal };
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(readyWithinMs)]);
    const pod = await watchFirstPod(api, { namespace: plainNamespace, port, healthPath: '/healthz' }, inTime);
    const startNs = process.hrtime.bigint();
    const startMs = performance.now();
    await scale(1);
    await until({ ...look, what: 'the plain pod is Ready' }, async () =>
      (await podsIn(api, plainNamespace, signal)).some(({ status }) =>
        status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
      ),
    );
    const readyMs = performance.now() - startMs;
    const answeredMs = (await firstAnswer(clusterIP, signal)) - startMs;
    const { answeredNs } = await pod.answer;
    await scale(0);
    await zero(api, plainNamespace, signal);
    return { plainPodMs: msBetween(startNs, answeredNs), readyMs, answeredMs };
  };
}

/**
 * Starts a new attempt each time, regardless of earlier ones: one whose SYN is lost, while the Service has no endpoint, would
 * send it again only a second later. @returns when the first one was answered.
 */
async function firstAnswer(host: string, signal: AbortSignal): Promise<number> {
  const enough = new AbortController();
  const attempts: Promise<void>[] = [];
  let firstMs = Infinity;
  const attempt = (): Promise<void> =>
    callOnce({ host, port }, '/', AbortSignal.any([signal, enough.signal, AbortSignal.timeout(attemptMs)])).then(
      () => {
        firstMs = Math.min(firstMs, performance.now());
      },
      () => undefined,
    );
  const wait = { withinMs: readyWithinMs, everyMs: lookEveryMs, what: 'the ClusterIP answers', signal };
  try {
    await until(wait, async () => {
      attempts.push(attempt());
      return firstMs !== Infinity;
    });
  } finally {
    enough.abort();
    await Promise.all(attempts);
  }
  return firstMs;
}

function plainObjects(): readonly unknown[] {
  const labels = { app: 'plain' };
  const metadata = { name: 'plain', namespace: plainNamespace };
  const container = {
    name: 'app',
    image: testImage(),
    ports: [{ containerPort: port }],
    readinessProbe: { httpGet: { path: '/healthz', port }, periodSeconds: 1 },
  };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: plainNamespace } },
    { apiVersion: 'v1', kind: 'Service', metadata, spec: { selector: labels, ports: [{ port }] } },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 0,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: { automountServiceAccountToken: false, containers: [container] },
        },
      },
    },
  ];
}

async function podsIn(api: KubeApi, where: string, signal: AbortSignal): Promise<readonly Kinds['Pod'][]> {
  return (await api.list('Pod', where, {}, { signal })).items;
}

/** No pod is there, not even one that ends: it would take CPU time from the next start. */
export async function zero(api: KubeApi, where: string, signal: AbortSignal): Promise<void> {
  const wait = { withinMs: zeroWithinMs, everyMs: 100, what: `no pod in ${where}`, signal };
  await until(wait, async () => (await podsIn(api, where, signal)).length === 0);
}

export async function removeNamespaces(...names: string[]): Promise<void> {
  await kubectl('delete', 'namespace', ...names, '--ignore-not-found');
}
