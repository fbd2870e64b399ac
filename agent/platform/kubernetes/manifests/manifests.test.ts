import assert from 'node:assert/strict';
import { test } from 'node:test';
import { appObjectName, claimName, versionObjectName } from './names.ts';
import { isAutoscaled } from './container.ts';
import { contentAnnotation, serviceOf, versionObjects, type Manifest } from './manifests.ts';
import { testRun } from '../../../testing/kubernetes-run.ts';

const options = { builtRepository: 'registry.example/holdfast/app', imagePullSecrets: [] };
const digest = `sha256:${'a'.repeat(64)}`;

/** Pods of unknown fields: what is not there is looked for too. */
function podOf(
  deployment: Manifest<'Deployment'>,
): { readonly containers: readonly [Record<string, unknown>] } & Record<string, unknown> {
  return structuredClone(deployment.spec?.template.spec) as object as ReturnType<typeof podOf>;
}

/** What the kubelet makes of a text when no variable is defined: `$$` becomes `$`, and an unknown `$(NAME)` stays. */
function expanded(text: string): string {
  return text.replace(/\$\$|\$\([^)]*\)/g, (found) => {
    assert.equal(found, '$$', `${text} refers to a variable`);
    return '$';
  });
}

test('names differ for things that differ, and are never longer than 63 characters', () => {
  assert.equal(versionObjectName('a', 1), 'hf-a-v1');
  assert.notEqual(appObjectName('a-v1'), versionObjectName('a', 1), 'app a-v1 is not version 1 of app a');
  assert.notEqual(claimName('a', 'b-c'), claimName('a-b', 'c'));
  assert.equal(claimName('a', 'data'), 'hf-a-data');
  const [long, other] = ['x'.repeat(62) + 'a', 'x'.repeat(62) + 'b'];
  for (const name of [appObjectName(long), versionObjectName(long, 123_456), claimName(long, 'y'.repeat(32))]) {
    assert.ok(name.length <= 63, name);
    assert.match(name, /^[a-z][a-z0-9-]*[a-z0-9]$/);
  }
  assert.notEqual(appObjectName(long), appObjectName(other));
  assert.match(versionObjectName(long, 12), /-v12$/);
});

test('a pod gets no token, no privileges, its identity as environment and its secrets by reference', () => {
  const run = testRun({ env: { A: 'b' }, secrets: { KEY: 's3cret' }, memory: '128Mi', cpus: '0.5' });
  const { deployment, inputs } = versionObjects(run, {
    builtRepository: 'registry.example/holdfast/app',
    imagePullSecrets: ['pull'],
  });
  const pod = podOf(deployment);
  const [container] = pod.containers;
  assert.equal(pod['automountServiceAccountToken'], false);
  assert.equal(pod['enableServiceLinks'], false);
  assert.deepEqual(pod['imagePullSecrets'], [{ name: 'pull' }]);
  assert.deepEqual(pod['securityContext'], { seccompProfile: { type: 'RuntimeDefault' } });
  assert.equal((container['securityContext'] as Record<string, unknown>)['allowPrivilegeEscalation'], false);
  assert.deepEqual(container['env'], [
    { name: 'PORT', value: '8080' },
    { name: 'HOLDFAST_APP', value: 'hello' },
    { name: 'HOLDFAST_VERSION', value: '1' },
    { name: 'HOLDFAST_PATH', value: '/hello' },
  ]);
  assert.deepEqual(container['envFrom'], [
    { configMapRef: { name: 'hf-hello-v1' } },
    { secretRef: { name: 'hf-hello-v1' } },
  ]);
  assert.deepEqual(container['resources'], {
    requests: { cpu: '0.5', memory: '128Mi' },
    limits: { memory: '128Mi' },
  });
  assert.equal(container['livenessProbe'], undefined);
  assert.deepEqual(
    inputs.map((input) => [input.kind, 'data' in input ? input.data : undefined]),
    [
      ['ConfigMap', { A: 'b' }],
      ['Secret', { KEY: Buffer.from('s3cret').toString('base64') }],
    ],
  );
  assert.ok(!JSON.stringify(deployment).includes('s3cret'));
});

test('the kubelet asks for a page only where there is a health_url, by the host of the route; the agent probes the rest', () => {
  const pod = (run: Parameters<typeof testRun>[0]): unknown[] => {
    const { deployment } = versionObjects(testRun(run), options);
    const { template } = deployment.spec as { template: { metadata: { annotations?: object } } };
    return [podOf(deployment).containers[0]['readinessProbe'], template.metadata.annotations];
  };
  const [none, noted] = pod({});
  assert.deepEqual((none as { tcpSocket: object }).tcpSocket, { port: 8080 });
  assert.deepEqual(noted, { 'holdfast.dev/probe': '{}' });
  const [plain] = pod({ health_url: '/h', port: 81 });
  assert.deepEqual((plain as { httpGet: object }).httpGet, { path: '/h', port: 81, scheme: 'HTTP' });
  const hosts = ['shop.example/x', '*.Shop.example'].map((path) => {
    const [probe] = pod({ health_url: '/h', path });
    return (probe as { httpGet: { httpHeaders: unknown } }).httpGet.httpHeaders;
  });
  assert.deepEqual(hosts, [[{ name: 'Host', value: 'shop.example' }], [{ name: 'Host', value: 'hello.shop.example' }]]);
  const [h2c, marked] = pod({ health_url: '/h', port: 81, protocol: 'h2c' });
  assert.deepEqual((h2c as { tcpSocket: object }).tcpSocket, { port: 81 });
  assert.deepEqual(marked, { 'holdfast.dev/probe': '{"path":"/h","protocol":"h2c"}' });
});

test('the processes of an app can write to its volumes: by the group of the presets, or the one that its config names', () => {
  const volumes = [{ name: 'data', path: '/data' }];
  const source = { image: undefined, source: 'https://git.example/app' };
  const owned = { fsGroup: 1000, fsGroupChangePolicy: 'OnRootMismatch' };
  const groupOf = (app: Parameters<typeof testRun>[0]): unknown =>
    podOf(versionObjects(testRun(app), options).deployment)['securityContext'];
  const seccompProfile = { type: 'RuntimeDefault' };
  assert.deepEqual(groupOf({ ...source, volumes }), { seccompProfile, ...owned });
  assert.deepEqual(groupOf({ ...source }), { seccompProfile }, 'there is nothing to own');
  assert.deepEqual(groupOf({ volumes }), { seccompProfile }, 'an image knows its user itself');
  const config = (fs_group: number) => ({ kubernetes: { fs_group } });
  assert.deepEqual(groupOf({ volumes, config: config(70) }), { seccompProfile, ...owned, fsGroup: 70 });
  assert.deepEqual(groupOf({ ...source, volumes, config: config(0) }), { seccompProfile });
});

test('replicas are never applied: they belong to start, stop and the autoscaler', () => {
  assert.equal('replicas' in (versionObjects(testRun({ min_replicas: 3 }), options).deployment.spec ?? {}), false);
});

test('an autoscaler is made where replicas may grow, and only there', () => {
  assert.equal(versionObjects(testRun(), options).autoscaler, undefined);
  assert.equal(isAutoscaled(testRun({ min_replicas: 2, max_replicas: 2 })), false);
  const { autoscaler, deployment } = versionObjects(testRun({ min_replicas: 0, max_replicas: 4 }), options);
  assert.equal(autoscaler?.spec?.['minReplicas'], 1);
  assert.equal(autoscaler.spec['maxReplicas'], 4);
  // It measures by the request, so there is one.
  assert.deepEqual(podOf(deployment).containers[0]['resources'], { requests: { cpu: '100m' } });
});

test('a pinned image is run by its digest, an unpinned one by its tag', () => {
  const cases: [image: string, pinned: string | null, expected: string, policy: string][] = [
    ['hello:1', digest, `hello@${digest}`, 'IfNotPresent'],
    ['registry.example:5000/a/hello', digest, `registry.example:5000/a/hello@${digest}`, 'IfNotPresent'],
    ['registry.example:5000/hello:2', null, 'registry.example:5000/hello:2', 'IfNotPresent'],
    ['registry.example:5000/hello', null, 'registry.example:5000/hello', 'Always'],
    ['hello:latest', null, 'hello:latest', 'Always'],
    [`hello@${digest}`, digest, `hello@${digest}`, 'IfNotPresent'],
  ];
  for (const [image, imageDigest, expected, policy] of cases) {
    const run = { ...testRun({ image }), pin: { imageDigest, sourceDigest: null, imageTag: null } };
    const [container] = podOf(versionObjects(run, options).deployment).containers;
    assert.deepEqual([container['image'], container['imagePullPolicy']], [expected, policy], image);
  }
});

test('a command is what was declared: nothing in it is expanded', () => {
  const command = ['sh', '-c', 'echo $(PORT) $HOME $$ $$(PORT)', '$', '$$', '$(', '$$$(X)$'];
  const run = testRun({ command, path: '/a$(PORT)$$b' });
  const [container] = podOf(versionObjects(run, options).deployment).containers;
  assert.deepEqual((container['command'] as string[]).map(expanded), command);
  const env = container['env'] as { readonly name: string; readonly value: string }[];
  assert.equal(expanded(env.find(({ name }) => name === 'HOLDFAST_PATH')?.value ?? ''), '/a$(PORT)$$b');
});

test('an app with volumes has one Deployment for all versions, which never runs two pods', () => {
  const volumes = [{ name: 'data', path: '/data' }];
  const [one, two] = [1, 2].map((version) => versionObjects(testRun({ volumes }, version), options));
  assert.equal(one?.deployment.metadata.name, 'hf-hello');
  assert.equal(two?.deployment.metadata.name, 'hf-hello');
  assert.deepEqual(one.deployment.spec?.['strategy'], { type: 'Recreate' });
  assert.deepEqual(one.deployment.spec['selector'], two.deployment.spec?.['selector'], 'selectors are immutable');
  const claim = one.inputs.find((input) => input.kind === 'PersistentVolumeClaim');
  assert.equal(claim?.metadata.name, 'hf-hello-data');
  assert.deepEqual(claim.spec?.['resources'], { requests: { storage: '10Gi' } });
  assert.equal(claim.metadata.labels?.['holdfast.dev/version'], undefined, 'it survives versions');
});

test('a stateless version has a Deployment of its own, with no moment without a pod', () => {
  const { deployment } = versionObjects(testRun({}, 2), options);
  assert.equal(deployment.metadata.name, 'hf-hello-v2');
  assert.deepEqual(deployment.spec?.['strategy'], {
    type: 'RollingUpdate',
    rollingUpdate: { maxUnavailable: 0, maxSurge: 1 },
  });
});

test('the Service leads to one version', () => {
  assert.deepEqual(serviceOf(testRun({ port: 3000 }, 7)).spec, {
    type: 'ClusterIP',
    selector: { 'holdfast.dev/app': 'hello', 'holdfast.dev/version': '7' },
    ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 3000 }],
  });
});

test('the content annotation tells every change but the values of secrets', () => {
  const contentOf = (run: ReturnType<typeof testRun>): string | undefined =>
    versionObjects(run, options).deployment.metadata.annotations?.[contentAnnotation];
  const base = contentOf(testRun({ env: { A: '1' }, secrets: { B: '2' } }));
  assert.equal(contentOf(testRun({ env: { A: '1' }, secrets: { B: '3' } })), base);
  assert.notEqual(contentOf(testRun({ env: { A: '2' }, secrets: { B: '2' } })), base);
  assert.notEqual(contentOf(testRun({ env: { A: '1' }, secrets: { C: '2' } })), base);
});
