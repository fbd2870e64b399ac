/** The API as an agent has it: by a service account with the rights of a Role and no others. */
import { createKubeApi, type KubeApi } from '../../../agent/kube/api.ts';
import { ClusterConfig, loadClusterConfig } from '../../../agent/kube/cluster-config.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import { kubeRequest } from '../../support/kube-request.ts';
import type { Cluster, Scope } from './cluster.ts';

export interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** Closed with the scope. */
export async function openHumbleApi(scope: Scope, cluster: Cluster, rules: readonly Rule[]): Promise<KubeApi> {
  const { namespace } = cluster;
  const core = `/api/v1/namespaces/${namespace}`;
  const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`;
  await cluster.create(`${core}/serviceaccounts`, { metadata: { name: 'agent' } });
  await cluster.create(`${rbac}/roles`, { metadata: { name: 'agent' }, rules });
  await cluster.create(`${rbac}/rolebindings`, {
    metadata: { name: 'agent' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'agent' },
    subjects: [{ kind: 'ServiceAccount', name: 'agent', namespace }],
  });
  const { status } = await kubeRequest<{ readonly status: { readonly token: string } }>({
    method: 'POST',
    path: `${core}/serviceaccounts/agent/token`,
    body: { spec: {} },
  });
  const server = loadClusterConfig({ kubeconfig: process.env['KUBECONFIG'], env: {} }).getCurrentCluster();
  if (server === null) throw new Error('KUBECONFIG names no cluster');
  const config = new ClusterConfig();
  config.loadFromClusterAndUser(server, { name: 'agent', token: status.token });
  const api = createKubeApi({ config, clock: systemClock });
  scope.after(() => api.close());
  return api;
}
