import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createManualClock } from '../../../../shared/wait/testing/manual-clock.ts';
import type { Kinds } from '../../../kube/kinds.ts';
import { testRun } from '../../../testing/kubernetes-run.ts';
import { contentAnnotation, revisionAnnotation, versionObjects, type Manifest } from '../manifests/manifests.ts';
import { appliedFacts, type AppliedFacts } from '../picture/facts.ts';
import { AppliedObjects } from './applied-objects.ts';
import { Workloads } from './workloads.ts';

const options = { builtRepository: 'registry.example/app', imagePullSecrets: [] };
const run = testRun({ env: { A: '1' } });
const { signal } = new AbortController();

/** A cluster that has the objects of the version, with the Deployment that an earlier release has made. */
function setUp(replicas: number) {
  const watched = new Map<string, AppliedFacts>();
  const informer = { get: (name: string) => watched.get(name), list: () => watched.values() } as never;
  const applied = new AppliedObjects({
    picture: {
      applied: {
        Deployment: informer,
        Service: informer,
        ConfigMap: { get: (name: string) => watched.get(`ConfigMap/${name}`) } as never,
        Secret: informer,
        HorizontalPodAutoscaler: informer,
      },
    },
    clock: createManualClock(),
  });
  const requests: string[] = [];
  const workloads = new Workloads({
    objects: {
      apply: async (manifest) => {
        requests.push(`apply ${manifest.kind}`);
        return asKept(manifest, 1);
      },
      scale: async (name, wanted) => {
        requests.push(`scale ${name} to ${wanted}`);
        return undefined;
      },
    },
    applied,
    options,
  });
  const { deployment, inputs } = versionObjects(run, options);
  const former = {
    ...deployment,
    metadata: { ...deployment.metadata, annotations: { [contentAnnotation]: 'former' } },
  };
  const see = (more: object = {}): void =>
    void watched.set(deployment.metadata.name, { ...appliedFacts(asKept(former, replicas)), ...more });
  see();
  const [config] = inputs;
  if (config !== undefined) watched.set(`ConfigMap/${config.metadata.name}`, appliedFacts(asKept(config, 0)));
  return { workloads, requests, see, forgetConfig: () => watched.delete(`ConfigMap/${config?.metadata.name}`) };
}

function asKept(manifest: Manifest, replicas: number): Kinds['Deployment'] {
  const object = manifest as Kinds['Deployment'];
  return { ...object, metadata: { ...object.metadata, uid: 'u' }, spec: { ...object.spec, replicas } as never };
}

test('a version that an earlier release has made, and that runs, is left as it is', async () => {
  const { workloads, requests } = setUp(1);
  assert.equal(workloads.isIntact(run), true);
  await workloads.raise(run, signal);
  assert.deepEqual(requests, []);
});

test('it is made afresh at its next start, when somebody has edited it, or when something of it is missing', async () => {
  const asleep = setUp(0);
  await asleep.workloads.raise(run, signal);
  assert.deepEqual(asleep.requests.slice(0, 2), ['apply ConfigMap', 'apply Deployment']);
  const edited = setUp(1);
  assert.equal(edited.workloads.isIntact(run), true);
  edited.see({ fingerprint: 'edited' });
  assert.equal(edited.workloads.isIntact(run), false);
  const robbed = setUp(1);
  robbed.forgetConfig();
  assert.equal(robbed.workloads.isIntact(run), false);
});

test('an object of another app is not taken over', async () => {
  const { workloads, requests, see } = setUp(0);
  see({ app: 'other' });
  await assert.rejects(workloads.raise(run, signal), {
    code: 'app_invalid',
    message: /belongs to app other: .* rename this app/,
  });
  assert.ok(!requests.includes('apply Deployment'), requests.join());
});

test('a version of this release whose content differs is repaired', () => {
  const { workloads, see } = setUp(1);
  see({ revision: versionObjects(run, options).deployment.metadata.annotations?.[revisionAnnotation] });
  assert.equal(workloads.isIntact(run), false);
});

test('who changes what is applied for a version raises the revision of the manifests', () => {
  const everything = testRun({
    path: 'shop.example/x',
    env: { A: '1' },
    secrets: { B: '2' },
    command: ['run', '$A'],
    health_url: '/healthz',
    cpus: '0.5',
    memory: '128Mi',
    min_replicas: 1,
    max_replicas: 1,
    volumes: [{ name: 'data', path: '/data' }],
  });
  const { annotations } = versionObjects(everything, options).deployment.metadata;
  assert.deepEqual(
    [annotations?.[revisionAnnotation], annotations?.[contentAnnotation]],
    ['2', 'ac300d3bb03d4ff0e6bf00d1f13b26ff'],
  );
});
