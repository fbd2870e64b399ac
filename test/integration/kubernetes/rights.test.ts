/** What the platform does with nothing but the rights that the chart's Role for the apps namespace gives. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createKubernetesPlatform } from '../../../agent/platform/kubernetes/platform.ts';
import { AppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { noBuilds } from '../../support/no-builds.ts';
import { openCluster, programs, runOf, startOptions, within } from './cluster.ts';
import { openHumbleApi } from './humble.ts';

const all = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete'];
const look = ['get', 'list', 'watch'];
/** As in charts/holdfast/templates/agent/role-apps.yaml. */
const rules = [
  { apiGroups: ['apps'], resources: ['deployments'], verbs: all },
  { apiGroups: [''], resources: ['services', 'secrets', 'configmaps', 'persistentvolumeclaims'], verbs: all },
  { apiGroups: ['autoscaling'], resources: ['horizontalpodautoscalers'], verbs: all },
  { apiGroups: [''], resources: ['pods'], verbs: [...look, 'delete'] },
  { apiGroups: [''], resources: ['pods/log'], verbs: ['get'] },
  { apiGroups: [''], resources: ['events'], verbs: look },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: look },
  { apiGroups: ['apps'], resources: ['replicasets'], verbs: look },
];

test('the rights of the chart are enough, from the first start to the removal', { timeout: 120_000 }, async (t) => {
  const cluster = await openCluster(t);
  const { namespace } = cluster;
  const api = await openHumbleApi(t, cluster, rules);
  const platform = createKubernetesPlatform({
    api,
    appsNamespace: namespace,
    imagePullSecrets: [],
    registry: { digest: () => Promise.reject(new AppError('registry_unavailable', 'not asked')) },
    ...noBuilds,
    log: silentLog,
  });
  t.after(() => platform.close());

  await platform.adopt([], within(20_000));
  const run = runOf({
    name: 'humble',
    env: { A: '1' },
    secrets: { B: '2' },
    volumes: [{ name: 'data', path: '/data', size: '1Mi' }],
  });
  await Promise.all([platform.start(run, startOptions()), platform.switchTo(run, within(20_000))]);
  const lines: string[] = [];
  for await (const { line } of platform.logs({ app: 'humble', tail: 5, follow: false }, within(10_000)))
    lines.push(line);
  assert.deepEqual(lines, ['listens']);
  await platform.stop('humble', 1, within(10_000));
  const crashing = runOf({ name: 'humble', max_replicas: 3, command: ['node', '-e', programs.crashes] }, 2);
  await assert.rejects(platform.start(crashing, startOptions()), (error: AppError) => {
    assert.equal(error.code, 'app_crashed');
    assert.deepEqual(error.data?.['logs'], ['first line', 'cannot open the database']);
    return true;
  });
  await platform.discard('humble', 2, within(10_000));
  const removed = await platform.remove('humble', { volumes: true, signal: within(60_000) });
  assert.deepEqual(removed.sort(), [
    'ConfigMap/hf-humble-v1',
    'Deployment/hf-humble',
    'PersistentVolumeClaim/hf-humble-data',
    'Secret/hf-humble-v1',
    'Service/hf-humble',
  ]);
});
