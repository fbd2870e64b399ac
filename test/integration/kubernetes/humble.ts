/** The API as an agent has it: by a service account with the rights of a Role and no others. */
import { loadKubeAccess } from '../../../agent/kube/access.ts';
import { createKubeApi, type KubeApi } from '../../../agent/kube/api.ts';
import { within, type Cluster, type Scope } from './cluster.ts';

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
  const { status } = await cluster.api.request<{ readonly status: { readonly token: string } }>({
    method: 'POST',
    path: `${core}/serviceaccounts/agent/token`,
    body: { spec: {} },
    signal: within(10_000),
  });
  const admin = await loadKubeAccess({ kubeconfig: process.env['KUBECONFIG'], env: {} });
  const api = createKubeApi({
    access: {
      ...admin,
      credentials: async () => ({
        tls: (await admin.credentials()).tls,
        headers: { authorization: `Bearer ${status.token}` },
      }),
    },
  });
  scope.after(() => api.close());
  return api;
}
