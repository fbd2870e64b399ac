/** What the chart renders, in every scenario of charts/holdfast/ci. */
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { describe, it } from 'node:test';
import { find, podsOf, render, scenarios, type Rendered } from './helm.ts';

const namespaced = (objects: readonly Rendered[], kind: string): Rendered[] =>
  objects.filter((object) => object.kind === kind);

for (const scenario of scenarios) {
  describe(`with ${basename(scenario)}`, async () => {
    const objects = await render(scenario);
    const router = find(objects, 'Deployment', 'holdfast-router');

    it('nothing is given rights beyond two namespaces', () => {
      assert.deepEqual(
        objects.filter((object) => object.kind.startsWith('Cluster')).map((object) => object.kind),
        [],
      );
      const own = objects.filter((object) => object.metadata.namespace !== 'holdfast' && object.kind !== 'Namespace');
      const apps = new Set(own.map((object) => object.metadata.namespace));
      assert.equal(apps.size, 1, [...apps].join());
    });

    it('the agent alone has a Role, in both namespaces, without wildcards, secrets of Holdfast or pods to create', () => {
      const bindings = namespaced(objects, 'RoleBinding');
      assert.equal(bindings.length, 2);
      for (const binding of bindings) {
        assert.deepEqual(binding['subjects'], [
          { kind: 'ServiceAccount', name: 'holdfast-agent', namespace: 'holdfast' },
        ]);
      }
      for (const role of namespaced(objects, 'Role')) {
        for (const rule of role['rules']) {
          assert.ok(![...rule.verbs, ...rule.resources, ...rule.apiGroups].includes('*'));
          if (rule.resources.includes('pods')) assert.ok(!rule.verbs.includes('create'));
          if (role.metadata.namespace === 'holdfast') assert.ok(!rule.resources.includes('secrets'));
        }
      }
    });

    it('the router has no service account token and only its own secret', () => {
      const { spec } = router['spec'].template;
      assert.equal(spec.automountServiceAccountToken, false);
      assert.equal(find(objects, 'ServiceAccount', 'holdfast-router')['automountServiceAccountToken'], false);
      const secrets = spec.volumes.filter(
        (volume: Rendered) => volume['secret'] !== undefined || volume['projected'] !== undefined,
      );
      assert.equal(secrets.length, 1);
      assert.equal(secrets[0].secret.items.length, 1);
      assert.equal(JSON.stringify(spec.containers[0].env).includes('secretKeyRef'), false);
    });

    it('one late answer does not take a router out, and a drain is seen within its delay', () => {
      const { readinessProbe } = router['spec'].template.spec.containers[0];
      assert.ok(readinessProbe.failureThreshold >= 2);
      assert.ok(readinessProbe.periodSeconds * readinessProbe.failureThreshold <= 5);
    });

    it('only the agent has a service account token', () => {
      const withToken = podsOf(objects).filter(({ spec }) => spec['automountServiceAccountToken'] !== false);
      assert.deepEqual(
        withToken.map(({ name }) => name),
        ['Deployment/holdfast-agent'],
      );
    });

    it('every pod is restricted, read-only and without an environment variable per Service', () => {
      const pods = podsOf(objects);
      assert.ok(pods.length >= 3);
      for (const { name, spec } of pods) {
        assert.equal(spec['enableServiceLinks'], false, name);
        assert.equal(spec['securityContext'].runAsNonRoot, true, name);
        assert.ok(spec['securityContext'].runAsUser > 0, name);
        assert.deepEqual(spec['securityContext'].seccompProfile, { type: 'RuntimeDefault' }, name);
        for (const container of [...(spec['initContainers'] ?? []), ...spec['containers']]) {
          assert.deepEqual(
            container.securityContext,
            { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: { drop: ['ALL'] } },
            name,
          );
          assert.ok(
            container.resources.requests.memory !== undefined && container.resources.limits.memory !== undefined,
            name,
          );
        }
        for (const volume of spec['volumes'] ?? []) assert.equal(volume.hostPath, undefined, name);
      }
    });

    it('the router is given more time to end than its drain takes', () => {
      const text: string = find(objects, 'ConfigMap', 'holdfast-router')['data']['router.toml'];
      const secs = (key: string, fallback: number): number =>
        Number(new RegExp(`${key} = ([0-9.]+)`).exec(text)?.[1] ?? fallback);
      const drainSecs = secs('drain_delay_secs', 5) + secs('drain_timeout_secs', 30);
      assert.ok(router['spec'].template.spec.terminationGracePeriodSeconds > drainSecs);
    });

    it('each Service leads to pods that are rendered, and the agent’s to the leader only', () => {
      const pods = podsOf(objects);
      for (const service of namespaced(objects, 'Service')) {
        const { 'holdfast.dev/role': role, ...selector } = service['spec'].selector as Record<string, string>;
        const matching = pods.filter(({ labels }) =>
          Object.entries(selector).every(([key, value]) => labels[key] === value),
        );
        assert.equal(matching.length, 1, service.metadata.name);
        assert.equal(role, service.metadata.name === 'holdfast-agent' ? 'leader' : undefined);
      }
    });

    it('what is secret is in no ConfigMap', () => {
      for (const map of namespaced(objects, 'ConfigMap')) {
        const text = JSON.stringify(map['data']);
        assert.doesNotMatch(text, /postgres:\/\/|"?(password|token|value) = /);
      }
    });
  });
}

describe('network policies', async () => {
  const objects = await render();
  const policy = (name: string): Rendered => find(objects, 'NetworkPolicy', name)['spec'];

  it('close every pod of the release both ways unless opened', () => {
    const deny = policy('holdfast-default-deny');
    assert.deepEqual(deny['policyTypes'], ['Ingress', 'Egress']);
    assert.equal(deny['ingress'] ?? deny['egress'], undefined);
    for (const { name, labels } of podsOf(objects)) {
      if (name.startsWith('Pod/')) continue;
      for (const [key, value] of Object.entries(deny['podSelector'].matchLabels))
        assert.equal(labels[key], value, name);
    }
  });

  it('let a router reach names, agents and app pods, and neither API server nor Postgres', () => {
    const [dns, agent, apps, ...more] = policy('holdfast-router')['egress'];
    assert.deepEqual(more, []);
    assert.deepEqual(
      dns.ports.map(({ port }: { port: number }) => port),
      [53, 53],
    );
    assert.equal(agent.to[0].podSelector.matchLabels['app.kubernetes.io/component'], 'agent');
    assert.deepEqual(apps.to, [
      { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'holdfast-apps' } } },
    ]);
  });

  it('let Postgres be reached by the agent only', () => {
    const { ingress, egress } = policy('holdfast-postgres') as unknown as { ingress: Rendered[]; egress?: unknown };
    assert.equal(egress, undefined);
    assert.deepEqual(
      ingress.map((rule) =>
        rule['from'].map((peer: Rendered) => peer['podSelector'].matchLabels['app.kubernetes.io/component']),
      ),
      [['agent']],
    );
  });

  it('let app pods be reached by routers and agent only', () => {
    const apps = objects.find(
      (object) => object.kind === 'NetworkPolicy' && object.metadata.namespace === 'holdfast-apps',
    );
    assert.deepEqual(apps?.['spec'].podSelector, {});
    const peers = apps?.['spec'].ingress[0].from.map(
      (peer: Rendered) => peer['podSelector'].matchLabels['app.kubernetes.io/component'],
    );
    assert.deepEqual(peers, ['router', 'agent']);
  });
});
