import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Kinds, ObjectMeta } from '../../../kube/kinds.ts';

type Pod = Kinds['Pod'];
type ContainerStatus = NonNullable<NonNullable<Pod['status']>['containerStatuses']>[number];
import { appliedFacts, podFacts } from './facts.ts';

function podWith(status: Partial<ContainerStatus>, pod: ObjectMeta = {}): Pod {
  const base = { image: 'i', imageID: 'i', ready: false, restartCount: 0 };
  return {
    metadata: { name: 'p', uid: 'u', labels: { 'holdfast.dev/app': 'hello', 'holdfast.dev/version': '3' }, ...pod },
    spec: { containers: [{ name: 'sidecar' }, { name: 'app', ports: [{ containerPort: 8080 }] }] },
    status: {
      phase: 'Running',
      podIP: '10.0.0.1',
      containerStatuses: [
        { ...base, name: 'sidecar', restartCount: 9 },
        { ...base, name: 'app', ...status },
      ],
    },
  };
}

const ended = { terminated: { exitCode: 1 } };

test('the ends of the app container are counted in each state the kubelet tells', () => {
  const cases: [status: Partial<ContainerStatus>, exits: number][] = [
    [{ state: { waiting: { reason: 'ContainerCreating' } } }, 0],
    [{ state: { running: {} } }, 0],
    [{ state: ended }, 1],
    [{ state: { running: {} }, lastState: ended, restartCount: 1 }, 1],
    [{ state: ended, lastState: ended, restartCount: 1 }, 2],
    [{ state: { waiting: { reason: 'CrashLoopBackOff' } }, lastState: ended, restartCount: 1 }, 2],
    [{ state: { running: {} }, lastState: ended, restartCount: 2 }, 2],
  ];
  for (const [status, exits] of cases) assert.equal(podFacts(podWith(status))?.exits, exits, JSON.stringify(status));
});

test('a pod leaves when it is being deleted or has ended for good', () => {
  assert.equal(podFacts(podWith({}))?.leaving, false);
  assert.equal(podFacts(podWith({}, { deletionTimestamp: '2026-01-01T00:00:00Z' }))?.leaving, true);
  const evicted = { ...podWith({}), status: { phase: 'Failed', reason: 'Evicted' } } as const;
  assert.equal(podFacts(evicted)?.leaving, true);
});

test('a pod that only bears our label is none of ours', () => {
  assert.equal(podFacts(podWith({}, { labels: { 'app.kubernetes.io/managed-by': 'holdfast' } })), undefined);
  assert.equal(podFacts(podWith({}, { labels: { 'holdfast.dev/app': 'a', 'holdfast.dev/version': 'x' } })), undefined);
});

test('the fingerprint tells edits, and not what controllers and scaling write', () => {
  const of = (spec: object, metadata: object = {}, status: object = {}): string =>
    appliedFacts({ metadata: { name: 'd', ...metadata }, spec, status } as Parameters<typeof appliedFacts>[0])
      .fingerprint;
  const base = of({ replicas: 1, paused: false });
  assert.equal(of({ replicas: 5, paused: false }, { resourceVersion: '9', generation: 4 }, { replicas: 5 }), base);
  assert.notEqual(of({ replicas: 1, paused: true }), base);
  assert.notEqual(of({ replicas: 1, paused: false }, { labels: { a: 'b' } }), base);
});
