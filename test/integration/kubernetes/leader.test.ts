/** The election and the leader's label on a real API server. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import type { V1Pod } from '@kubernetes/client-node';
import { createLeaderLabel } from '../../../agent/leader/leader-label.ts';
import { createLeaseElection } from '../../../agent/leader/lease.ts';
import { silentLog } from '../../../shared/log.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import { eventually, openCluster, within, type Cluster } from './cluster.ts';

const deadline = { timeout: 60_000 };

function agentOf(t: TestContext, { api, namespace }: Cluster, identity: string) {
  const stop = new AbortController();
  const parts = { api, namespace, log: silentLog, clock: systemClock };
  let leads = false;
  const election = createLeaseElection({
    ...parts,
    leaseName: 'holdfast-agent',
    identity,
    leaseDurationMs: 3_000,
    renewMs: 500,
  });
  const running = election.run(stop.signal, async (lost) => {
    leads = true;
    await new Promise<void>((resolve) => lost.addEventListener('abort', () => resolve(), { once: true }));
    leads = false;
  });
  const close = async (): Promise<void> => {
    stop.abort();
    await running;
  };
  t.after(close);
  return { leads: () => leads, close };
}

test('of two agents one leads, and the other takes over at once when it stops', deadline, async (t) => {
  const cluster = await openCluster(t);
  const agents = [agentOf(t, cluster, 'one'), agentOf(t, cluster, 'two')];
  await eventually(() => agents.some((agent) => agent.leads()), within(10_000));
  const leader = agents.find((agent) => agent.leads());
  const standby = agents.find((agent) => agent !== leader);
  assert.ok(leader && standby);
  await eventually(() => !standby.leads(), within(1_000));
  await leader.close();
  const began = performance.now();
  await eventually(() => standby.leads(), within(10_000));
  assert.ok(performance.now() - began < 2_000, 'it did not wait for the end of the lease');
});

test('the label of the leader is on one pod of the release', deadline, async (t) => {
  const cluster = await openCluster(t);
  const pods = `/api/v1/namespaces/${cluster.namespace}/pods`;
  const agentLabels = (instance: string) => ({
    'app.kubernetes.io/component': 'agent',
    'app.kubernetes.io/instance': instance,
  });
  const create = (name: string, instance: string, role?: string): Promise<void> =>
    cluster.create(pods, {
      metadata: {
        name,
        labels: { ...agentLabels(instance), ...(role === undefined ? {} : { 'holdfast.dev/role': role }) },
      },
      // Nothing runs: only the labels count.
      spec: {
        containers: [{ name: 'c', image: 'pause:1' }],
        nodeSelector: { no: 'node' },
        serviceAccountName: 'default',
      },
    });
  await eventually(
    () =>
      create('one', 'mine').then(
        () => true,
        () => false,
      ),
    within(10_000),
  );
  await create('two', 'mine', 'leader');
  await create('other', 'theirs', 'leader');
  const roleOf = async (name: string): Promise<string | undefined> =>
    (await cluster.get<V1Pod>(`${pods}/${name}`)).metadata?.labels?.['holdfast.dev/role'];
  const labelOf = (podName: string) =>
    createLeaderLabel({ api: cluster.api, namespace: cluster.namespace, podName, log: silentLog, clock: systemClock });

  await labelOf('one').claim(within(10_000));
  assert.deepEqual([await roleOf('one'), await roleOf('two'), await roleOf('other')], ['leader', undefined, 'leader']);
  await labelOf('one').clear();
  assert.equal(await roleOf('one'), undefined);
  // An agent outside the cluster has no pod, and leads all the same.
  await labelOf('nobody').claim(within(10_000));
  await labelOf('nobody').clear();
});
