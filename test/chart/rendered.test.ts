/** What the chart renders, in every scenario of charts/holdfast/ci. */
import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { describe, it } from 'node:test';
import { labelsOfBuild } from '../../agent/images/kaniko/build-names.ts';
import { agentNodeFlags, routerNodeFlags } from '../../shared/node-flags.ts';
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

    it('the agent alone has a Role, in both namespaces, without wildcards, pods to create or secrets of Holdfast to read', () => {
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
          if (role.metadata.namespace !== 'holdfast') continue;
          // A Secret of a build is made, and goes with the Job that owns it.
          if (rule.resources.includes('secrets')) assert.deepEqual(rule.verbs, ['create']);
        }
      }
    });

    it('the router has no service account token, and no secrets but its own and its certificates', () => {
      const { spec } = router['spec'].template;
      assert.equal(spec.automountServiceAccountToken, false);
      assert.equal(find(objects, 'ServiceAccount', 'holdfast-router')['automountServiceAccountToken'], false);
      const secrets = spec.volumes.filter(
        (volume: Rendered) => volume['secret'] !== undefined || volume['projected'] !== undefined,
      );
      const [own, ...certificates] = secrets;
      assert.equal(own.secret.items.length, 1);
      for (const { name, secret } of certificates) {
        assert.match(name, /^tls-\d$/);
        assert.deepEqual(
          secret.items.map(({ key }: Rendered) => key),
          ['tls.crt', 'tls.key'],
        );
      }
      assert.equal(JSON.stringify(spec.containers[0].env).includes('secretKeyRef'), false);
    });

    it('the router speaks TLS on a port of its own where it has certificates, by files that are mounted', () => {
      const toml: string = find(objects, 'ConfigMap', 'holdfast-router')['data']['router.toml'];
      const service = find(objects, 'Service', 'holdfast-router')['spec'];
      const https = service.ports.find(({ name }: Rendered) => name === 'https');
      const [container] = router['spec'].template.spec.containers;
      const port = container.ports.find(({ name }: Rendered) => name === 'https');
      const files = [...toml.matchAll(/(?:cert|key)_file = "([^"]+)"/g)].map(([, file = '']) => file);
      if (files.length === 0) {
        assert.deepEqual([https, port], [undefined, undefined]);
        return;
      }
      assert.match(toml, new RegExp(`listen_port = ${port.containerPort}\\n[^]*public_port = ${https.port}\\n`));
      for (const file of files) {
        const folder = file.slice(0, file.lastIndexOf('/'));
        assert.ok(
          container.volumeMounts.some(({ mountPath }: Rendered) => mountPath === folder),
          file,
        );
      }
      const policy = objects.find(
        ({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'holdfast-router',
      );
      assert.ok(policy?.['spec'].ingress[0].ports.some(({ port: open }: Rendered) => open === 'https'));
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

    it('the router is started as elsewhere', () => {
      const { args } = router['spec'].template.spec.containers[0];
      assert.deepEqual(args.slice(0, args.indexOf('router/main.ts')), routerNodeFlags);
    });

    it('the agent is started with the flags that keep it small', () => {
      const { args } = find(objects, 'Deployment', 'holdfast-agent')['spec'].template.spec.containers[0];
      assert.deepEqual(args.slice(0, args.indexOf('agent/main.ts')), agentNodeFlags);
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

describe('what builds need', async () => {
  const agentToml = (objects: readonly Rendered[]): string =>
    find(objects, 'ConfigMap', 'holdfast-agent')['data']['agent.toml'];
  const ownRules = (objects: readonly Rendered[]): string[] =>
    objects
      .filter((object) => object.kind === 'Role' && object.metadata.namespace === 'holdfast')
      .flatMap((role) => role['rules'].map((rule: Rendered) => `${rule['resources'].join()}: ${rule['verbs'].join()}`));

  it('is told to the agent: its own image, where it is reached, and the keys of [builder]', async () => {
    const toml = agentToml(await render('image.digest="sha256:' + 'a'.repeat(64) + '"', 'agent.service={"port":7444}'));
    assert.match(toml, /fetch_image = "registry.example\/holdfast@sha256:a{64}"/);
    assert.match(toml, /agent_url = "http:\/\/holdfast-agent\.holdfast\.svc:7444"/);
    const exposed = agentToml(await render(...scenarios.filter((file) => file.endsWith('exposed-values.yaml'))));
    for (const line of [
      /kaniko_image = "registry.example\/kaniko:v1"/,
      /cpus = "2"/,
      /cache = false/,
      /image_pull_secrets = \["pull", "kaniko-pull"\]/,
      /project = "team\/apps"/,
      /keep_versions = 3/,
      /docker_config_file = "\/etc\/holdfast\/registry\/config.json"/,
    ])
      assert.match(exposed, line);
  });

  it('are Jobs and their logs, given only where Kaniko builds', async () => {
    const kaniko = ownRules(await render());
    for (const rule of [
      'jobs: get,list,watch,create,delete',
      'pods/log: get',
      'secrets: create',
      'events: list',
      'pods: get,list,watch,patch',
    ])
      assert.ok(kaniko.includes(rule), rule);
    for (const values of [
      'builder={"mode":"none"}',
      'builder={"mode":"delegate","delegate":{"url":"https://b.example"}}',
    ])
      assert.deepEqual(
        ownRules(await render(values)).filter((rule) => /jobs|secrets|events|log|watch/.test(rule)),
        [],
      );
  });

  it('are the files that the configuration names', async () => {
    for (const scenario of scenarios) {
      const objects = await render(scenario);
      const { spec } = find(objects, 'Deployment', 'holdfast-agent')['spec'].template;
      const mounted = spec.containers[0].volumeMounts.flatMap(({ name, mountPath }: Record<string, string>) => {
        const { projected } = spec.volumes.find((volume: Rendered) => volume['name'] === name);
        return (projected?.sources ?? []).flatMap(({ secret }: Rendered) =>
          secret.items.map(({ path }: Record<string, string>) => `${mountPath}/${path}`),
        );
      });
      const named = [...agentToml(objects).matchAll(/_file = "([^"]+)"/g)].map((match) => match[1]);
      assert.deepEqual(
        named.filter((path) => !mounted.includes(path)),
        [],
        scenario,
      );
    }
  });

  it('is a place for sources, as large as is said', async () => {
    const sizeOf = async (...values: string[]): Promise<string> =>
      find(await render(...values), 'Deployment', 'holdfast-agent')['spec'].template.spec.volumes.find(
        (volume: Rendered) => volume['name'] === 'tmp',
      ).emptyDir.sizeLimit;
    assert.equal(await sizeOf(), '8Gi');
    assert.equal(await sizeOf('agent.sourceCacheSize="9Gi"'), '9Gi');
  });
});

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

  it('let build pods reach names, agents, the registry and the outside but not the metadata of clouds, and nobody reach them', () => {
    const { podSelector, policyTypes, ingress, egress } = policy('holdfast-builds') as unknown as {
      podSelector: Rendered;
      policyTypes: string[];
      ingress?: unknown;
      egress: Rendered[];
    };
    const labels = labelsOfBuild({ tag: 'abc', app: 'shop', agents: 'holdfast-agent' });
    for (const [key, value] of Object.entries(podSelector['matchLabels'])) assert.equal(labels[key], value, key);
    assert.deepEqual(policyTypes, ['Ingress', 'Egress']);
    assert.equal(ingress, undefined);
    const [, agent, registry, outside, ...more] = egress;
    assert.deepEqual(more, []);
    const componentOf = (rule?: Rendered): string =>
      rule?.['to'][0].podSelector.matchLabels['app.kubernetes.io/component'];
    assert.deepEqual([componentOf(agent), componentOf(registry)], ['agent', 'registry']);
    assert.deepEqual(outside?.['to'][0].ipBlock, { cidr: '0.0.0.0/0', except: ['169.254.0.0/16'] });
    const callers = policy('holdfast-agent')['ingress'][0].from.map(
      (peer: Rendered) => peer['podSelector'].matchLabels,
    );
    assert.ok(callers.some((own: Record<string, string>) => own['app.kubernetes.io/component'] === 'build'));
  });

  it('let the agent reach git servers, and a delegated builder where there is one', async () => {
    const portsOf = (policies: readonly Rendered[]): unknown[] =>
      find(policies, 'NetworkPolicy', 'holdfast-agent')['spec'].egress.flatMap((rule: Rendered) =>
        (rule['ports'] ?? []).map(({ port }: { port: unknown }) => port),
      );
    assert.ok(portsOf(objects).includes(22));
    assert.ok(!portsOf(objects).includes(7480));
    const delegated = await render('builder={"mode":"delegate","delegate":{"url":"https://builder.example:7480/x"}}');
    assert.ok(portsOf(delegated).includes(7480));
    assert.equal(
      delegated.some((object) => object.metadata.name === 'holdfast-builds'),
      false,
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
