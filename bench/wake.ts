/**
 * How long is a whole wake from zero on Kubernetes, and how much of it is behind the moment in which the pod itself answers, asked
 * from here every 5 ms? Against a plain Deployment of the same image, scaled from zero to one: until its pod answers, until it is
 * Ready, and then until its ClusterIP answers. Needs KUBECONFIG and HOLDFAST_TEST_REGISTRY.
 */
import { createKubeApi, type KubeApi } from '../agent/kube/api.ts';
import { loadClusterConfig } from '../agent/kube/cluster-config.ts';
import { systemClock } from '../shared/wait/clock.ts';
import { registryHost } from '../test/e2e/cluster.ts';
import { Release } from '../test/e2e/release.ts';
import { testImage } from '../test/e2e/scenario.ts';
import { callOnce, msBetween } from './rig/callers.ts';
import { watchFirstPod } from './rig/pod-prober.ts';
import { removeNamespaces, startPlain, zero, type PlainWake } from './rig/plain-deployment.ts';
import type { Bench, Question } from './rig/question.ts';
import { quantile, spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';
import { until } from './rig/until.ts';

const namespace = 'holdfast-bench';
const app = 'wake';
const port = 8_080;
const healthPath = '/healthz';
const asleepWithinMs = 90_000;
/** Deadline of one wake with all its steps. */
const wakeWithinMs = 60_000;

export const wake: Question = async (bench) => {
  const missing = ['KUBECONFIG', 'HOLDFAST_TEST_REGISTRY'].filter((name) => !process.env[name]);
  if (missing.length > 0) {
    bench.say(`wake: left out, ${missing.join(' and ')} must name a cluster of test/cluster and its registry`);
    return undefined;
  }
  const config = loadClusterConfig({ kubeconfig: process.env['KUBECONFIG'], env: {} });
  const api = createKubeApi({ config, clock: systemClock });
  bench.after(() => api.close());
  const holdfast = await startHoldfast(bench, api);
  const plain = await startPlain(bench, api);
  const { wakes: count } = bench.options;
  const wakes: Wake[] = [];
  // The first one of each may pull the image: not counted.
  for (let number = 0; number <= count; number += 1) {
    // Each goes first in its turn.
    const plainFirst = number % 2 === 1 ? await plain() : undefined;
    const woken = await holdfast();
    const wake = { ...woken, ...(plainFirst ?? (await plain())) };
    if (number > 0) wakes.push(wake);
    bench.say(`wake: ${number} of ${count}`);
  }
  return report(wakes);
};

interface HoldfastWake {
  /** From the call to the first byte of its answer. */
  readonly holdfastMs: number;
  /** From the call to the moment the API server told the address of the pod. */
  readonly addressMs: number;
  /** From the call to the first answer of the pod itself. */
  readonly podMs: number;
}

type Wake = HoldfastWake & PlainWake;

/** @returns what wakes the app by one call, and ends when it is at zero again. */
async function startHoldfast(bench: Bench, api: KubeApi): Promise<() => Promise<HoldfastWake>> {
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
  const config = { add_slash: false, container: { idle_shutdown_secs: 1 } };
  await release.call('apps.apply', {
    apps: [{ name: app, path: `/${app}`, image: testImage(), port, health_url: healthPath, config }],
  });
  const [url = ''] = await release.routerUrls();
  const { hostname, port: routerPort } = new URL(url);
  return async () => {
    const inTime = AbortSignal.any([signal, AbortSignal.timeout(wakeWithinMs)]);
    const pod = await watchFirstPod(api, { namespace: release.appsNamespace, port, healthPath }, inTime);
    const { sentNs, firstByteNs } = await callOnce({ host: hostname, port: Number(routerPort) }, `/${app}`, inTime);
    const { addressNs, answeredNs } = await pod.answer;
    await until({ withinMs: asleepWithinMs, everyMs: 100, what: 'the app is asleep', signal }, async () => {
      return (await release.call('apps.get', { app })).state === 'asleep';
    });
    await zero(api, release.appsNamespace, signal);
    return {
      holdfastMs: msBetween(sentNs, firstByteNs),
      addressMs: msBetween(sentNs, addressNs),
      podMs: msBetween(sentNs, answeredNs),
    };
  };
}

function report(wakes: readonly Wake[]): string {
  const row = (what: string, timeOf: (wake: Wake) => number): string[] => {
    const times = wakes.map(timeOf);
    return [
      what,
      spread(times, 0),
      quantile(times, 0.9).toFixed(0),
      spread(
        wakes.map((one) => timeOf(one) / one.answeredMs),
        2,
      ),
    ];
  };
  const behind = wakes.map(({ holdfastMs, podMs }) => holdfastMs - podMs);
  const ratios = wakes.map(({ holdfastMs, podMs }) => holdfastMs / podMs);
  const gap = (what: string, values: readonly number[], digits: number): string[] => [
    what,
    spread(values, digits),
    ...[0.9, 0.99].map((share) => quantile(values, share).toFixed(digits)),
  ];
  return `${wakes.length} interleaved wakes of each, the same image, nothing running before. Median (least–most). A pod answers when the
first of the attempts is answered that this machine makes at its address, every 5 ms from when the API server tells that address.

${table(
  ['from zero', 'ms', 'p90 ms', 'ratio to Ready and ClusterIP'],
  [
    row('Holdfast: call → first byte', (wake) => wake.holdfastMs),
    row('its pod, in the same wake: call → the API server tells the address', (wake) => wake.addressMs),
    row('its pod, in the same wake: call → answers on its address', (wake) => wake.podMs),
    row('plain Deployment: replicas 1 → its pod answers on its address', (wake) => wake.plainPodMs),
    row('plain Deployment: replicas 1 → Ready', (wake) => wake.readyMs),
    row('plain Deployment: replicas 1 → Ready, then ClusterIP answers', (wake) => wake.answeredMs),
  ],
)}

${table(
  ['Holdfast behind its pod', 'median', 'p90', 'p99'],
  [
    gap('pod answers on its address → first byte at the held client, ms', behind, 1),
    gap('whole wake to the time at which the pod answers, ratio', ratios, 3),
  ],
)}`;
}
