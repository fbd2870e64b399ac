/**
 * How long is a whole wake from zero on Kubernetes? Against a plain Deployment of the same image, scaled from zero to one:
 * until its pod is Ready, and then until its ClusterIP answers. Needs KUBECONFIG and HOLDFAST_TEST_REGISTRY.
 */
import { loadKubeAccess } from '../agent/platform/kubernetes/access.ts';
import { createKubeApi, type KubeApi } from '../agent/platform/kubernetes/api.ts';
import { registryHost } from '../test/e2e/cluster.ts';
import { Release } from '../test/e2e/release.ts';
import { testImage } from '../test/e2e/scenario.ts';
import { callOnce, msBetween } from './rig/callers.ts';
import { removeNamespaces, startPlain, zero, type PlainWake } from './rig/plain-deployment.ts';
import type { Bench, Question } from './rig/question.ts';
import { quantile, spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';
import { until } from './rig/until.ts';

const namespace = 'holdfast-bench';
const app = 'wake';
const port = 8_080;
const asleepWithinMs = 90_000;

export const wake: Question = async (bench) => {
  const missing = ['KUBECONFIG', 'HOLDFAST_TEST_REGISTRY'].filter((name) => !process.env[name]);
  if (missing.length > 0) {
    bench.say(`wake: left out, ${missing.join(' and ')} must name a cluster of test/cluster and its registry`);
    return undefined;
  }
  const api = createKubeApi({ access: await loadKubeAccess({ kubeconfig: process.env['KUBECONFIG'], env: {} }) });
  bench.after(() => api.close());
  const holdfast = await startHoldfast(bench, api);
  const plain = await startPlain(bench, api);
  const { wakes: count } = bench.options;
  const wakes: Wake[] = [];
  // The first one of each may pull the image: not counted.
  for (let number = 0; number <= count; number += 1) {
    // Each goes first in its turn.
    const plainFirst = number % 2 === 1 ? await plain() : undefined;
    const holdfastMs = await holdfast();
    const wake = { holdfastMs, ...(plainFirst ?? (await plain())) };
    if (number > 0) wakes.push(wake);
    bench.say(`wake: ${number} of ${count}`);
  }
  return report(wakes);
};

interface Wake extends PlainWake {
  /** From the call to the first byte of its answer. */
  readonly holdfastMs: number;
}

/** @returns what wakes the app by one call, and ends when it is at zero again. */
async function startHoldfast(bench: Bench, api: KubeApi): Promise<() => Promise<number>> {
  const { signal } = bench;
  const release = new Release(namespace);
  bench.after(() =>
    // Interrupted before Helm had anything to uninstall: the namespaces at least.
    release.uninstall().catch(() => removeNamespaces(namespace, release.appsNamespace)),
  );
  await release.install(
    'registry.enabled=false',
    `externalRegistry.url=${registryHost()}`,
    'externalRegistry.insecure=true',
  );
  signal.throwIfAborted();
  const config = { container: { idle_shutdown_secs: 1 } };
  await release.call('apps.apply', {
    apps: [{ name: app, path: `/${app}`, image: testImage(), port, health_url: '/healthz', config }],
  });
  const [url = ''] = await release.routerUrls();
  const { hostname, port: routerPort } = new URL(url);
  return async () => {
    const { sentNs, firstByteNs } = await callOnce({ host: hostname, port: Number(routerPort) }, `/${app}`, signal);
    await until({ withinMs: asleepWithinMs, everyMs: 100, what: 'the app is asleep', signal }, async () => {
      return (await release.call('apps.get', { app })).state === 'asleep';
    });
    await zero(api, release.appsNamespace, signal);
    return msBetween(sentNs, firstByteNs);
  };
}

function report(wakes: readonly Wake[]): string {
  const row = (what: string, key: keyof Wake): string[] => {
    const times = wakes.map((one) => one[key]);
    return [
      what,
      spread(times, 0),
      quantile(times, 0.9).toFixed(0),
      spread(
        wakes.map((one) => one[key] / one.answeredMs),
        2,
      ),
    ];
  };
  return `${wakes.length} interleaved wakes of each, the same image, nothing running before. Median (least–most).

${table(
  ['from zero', 'ms', 'p90 ms', 'ratio to Ready and ClusterIP'],
  [
    row('Holdfast: call → first byte', 'holdfastMs'),
    row('plain Deployment: replicas 1 → Ready', 'readyMs'),
    row('plain Deployment: replicas 1 → Ready, then ClusterIP answers', 'answeredMs'),
  ],
)}`;
}
