/** `helm install` as an operator does it: Postgres and registry of the chart, restricted pod security, upgrade, uninstall. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { after, before, test } from 'node:test';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { callAtOnce, outcomes } from '../support/load.ts';
import { helm, kubectl, objectsIn, pods } from './cluster.ts';
import { mirrorOnNode, pushToRelease } from './node-mirror.ts';
import { Release } from './release.ts';
import { applied, apply, appFile, urlsOf } from './scenario.ts';

const release = new Release('holdfast-install');
const nodePort = 30_555;
const domain = 'apps.test';
const values = [`registry.service.nodePort=${nodePort}`, 'router.config.drain_delay_secs=1', `router.domain=${domain}`];
const registry = `holdfast-registry.${release.namespace}.svc:5000`;
const agentAccount = `system:serviceaccount:${release.namespace}:holdfast-agent`;
const anyOfRelease = 'app.kubernetes.io/instance=holdfast';

interface Objects {
  readonly items: readonly { readonly metadata: { readonly name: string }; readonly data?: unknown }[];
}

async function secretsOf(namespace: string): Promise<Record<string, unknown>> {
  const { items } = JSON.parse(
    await kubectl('get', 'secrets', '-n', namespace, '-l', anyOfRelease, '-o', 'json'),
  ) as Objects;
  return Object.fromEntries(items.map(({ metadata, data }) => [metadata.name, data]));
}

/** Verbs by resource, as `kubectl auth can-i --list` tells them. */
async function rightsOf(account: string, namespace: string): Promise<string[]> {
  const list = await kubectl('auth', 'can-i', '--list', '--no-headers', `--as=${account}`, '-n', namespace);
  return list
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/)[0] ?? '')
    .filter((resource) => !/^(\[|self\w+reviews\.)/.test(resource)); // what everyone may: ask about themselves, read the API's version
}

async function statusAt(url: string, host: string): Promise<number | undefined> {
  const call = request(url, { headers: { host } }).end();
  const [answer] = (await once(call, 'response', { signal: AbortSignal.timeout(60_000) })) as [IncomingMessage];
  answer.resume();
  return answer.statusCode;
}

let forgetMirror = async (): Promise<void> => undefined;

before(async () => {
  await kubectl('delete', 'namespace', release.namespace, release.appsNamespace, '--ignore-not-found');
  await kubectl('create', 'namespace', release.namespace);
  await kubectl('label', 'namespace', release.namespace, 'pod-security.kubernetes.io/enforce=restricted');
  await release.install(...values);
});
after(async () => {
  await forgetMirror();
  await helm('uninstall', 'holdfast', '--namespace', release.namespace, '--ignore-not-found');
  await kubectl('delete', 'namespace', release.namespace, release.appsNamespace, '--ignore-not-found');
});

test('every pod is Ready under restricted pod security, and nothing exists in the apps namespace', async () => {
  const all = await pods(release.namespace, anyOfRelease);
  assert.deepEqual(all.map(({ metadata }) => metadata.labels['app.kubernetes.io/component'] ?? '').toSorted(), [
    'agent',
    'agent',
    'postgres',
    'registry',
    'router',
    'router',
  ]);
  for (const { metadata, status } of all) {
    assert.equal(status.conditions?.find(({ type }) => type === 'Ready')?.status, 'True', metadata.name);
  }
  assert.deepEqual(await objectsIn(release.appsNamespace), []);
});

test('helm test passes', async () => {
  assert.match(
    await helm('test', 'holdfast', '--namespace', release.namespace, '--timeout', '2m'),
    /Phase: +Succeeded/,
  );
});

test('the node pulls from the registry of the chart, by the mirror of docs/registry-in-cluster.md', async () => {
  forgetMirror = await mirrorOnNode(registry, nodePort);
  await pushToRelease('test-app:1', { namespace: release.namespace, nodePort });
  await applied(release, { name: 'pulled', says: '1', image: `${registry}/test-app:1` });
  assert.deepEqual(await objectsIn(release.appsNamespace), []);
  const [url = ''] = await urlsOf(release, 'pulled');
  assert.deepEqual(outcomes(await callAtOnce(url, 20)), { 200: 20 });
  const images = await kubectl(
    'get',
    'pods',
    '-n',
    release.appsNamespace,
    '-o',
    'jsonpath={.items[*].spec.containers[*].image}',
  );
  assert.match(images, new RegExp(`^${registry}/test-app@sha256:[0-9a-f]{64}$`));
});

test('an app without a path answers at its host below router.domain, through every router', async () => {
  const file = appFile({ name: 'hosted', says: '1', image: `${registry}/test-app:1` });
  const { code, stderr } = await apply(release, file.replace('path = "/hosted"\n', ''));
  assert.equal(code, 0, stderr);
  const app = await release.call('apps.get', { app: 'hosted' });
  assert.equal(app.path, `hosted.${domain}`);
  for (const url of await release.routerUrls()) {
    assert.equal(await statusAt(url, `hosted.${domain}`), 200);
    assert.equal(await statusAt(url, `other.${domain}`), 404);
  }
});

test('a router has no service account token, and may nothing', async () => {
  const [router] = await release.pods('router');
  const look = "console.log(require('fs').existsSync('/var/run/secrets/kubernetes.io'))";
  const seen = await kubectl('exec', '-n', release.namespace, router?.metadata.name ?? '', '--', 'node', '-e', look);
  assert.equal(seen.trim(), 'false');
  const account = `system:serviceaccount:${release.namespace}:holdfast-router`;
  assert.deepEqual(await rightsOf(account, release.namespace), []);
  assert.deepEqual(await rightsOf(account, release.appsNamespace), []);
});

test('the agent may nothing outside its two namespaces, and read no secrets in its own', async () => {
  for (const namespace of ['default', 'kube-system', 'kube-public']) {
    assert.deepEqual(await rightsOf(agentAccount, namespace), [], namespace);
  }
  const own = await rightsOf(agentAccount, release.namespace);
  assert.deepEqual([...new Set(own)].toSorted(), [
    'events',
    'jobs.batch',
    'leases.coordination.k8s.io',
    'pods',
    'pods/log',
    'secrets',
  ]);
  // Each build has a Secret of its own; tokens and passwords are beside it.
  for (const verb of ['get', 'list', 'watch', 'update', 'patch', 'delete']) {
    const may = kubectl('auth', 'can-i', verb, 'secrets', `--as=${agentAccount}`, '-n', release.namespace);
    assert.equal((await may.catch((error: { stdout?: string }) => error.stdout ?? '')).trim(), 'no', verb);
  }
  assert.ok((await rightsOf(agentAccount, release.appsNamespace)).includes('deployments.apps'));
});

test('helm upgrade keeps every secret, and restarts nothing where nothing changed', async () => {
  const namespaces = [release.namespace, release.appsNamespace];
  const uids = async (): Promise<string[]> =>
    (await pods(release.namespace, anyOfRelease)).map(({ metadata }) => metadata.uid).toSorted();
  const [secretsBefore, podsBefore] = [await Promise.all(namespaces.map(secretsOf)), await uids()];
  await release.install(...values);
  assert.deepEqual(await Promise.all(namespaces.map(secretsOf)), secretsBefore);
  assert.deepEqual(await uids(), podsBefore);
  const names = [
    'holdfast-admin-token',
    'holdfast-deploy-token',
    'holdfast-postgres',
    'holdfast-registry',
    'holdfast-router-token',
  ];
  assert.deepEqual(Object.keys(secretsBefore[0] ?? {}).toSorted(), names);
});

test('helm uninstall leaves the apps, the volumes and the password of the database, and an install on them goes on with the apps', async () => {
  await helm('uninstall', 'holdfast', '--namespace', release.namespace, '--wait', '--timeout', '2m');
  const kinds =
    'all,configmaps,secrets,persistentvolumeclaims,serviceaccounts,roles,rolebindings,networkpolicies,poddisruptionbudgets,ingresses';
  await eventually(60_000, async () => {
    const left = await kubectl('get', kinds, '-n', release.namespace, '-o', 'name');
    assert.deepEqual(
      left
        .trim()
        .split('\n')
        .filter((name) => !/\/(kube-root-ca\.crt|default)$/.test(name))
        .toSorted(),
      [
        'persistentvolumeclaim/data-holdfast-postgres-0',
        'persistentvolumeclaim/holdfast-registry',
        'secret/holdfast-postgres',
      ],
    );
  });
  assert.ok((await objectsIn(release.appsNamespace)).includes('Deployment/hf-pulled-v1'));
  await release.install(...values);
  const { apps } = await release.call('apps.list', {});
  assert.deepEqual(
    apps.map(({ name }) => name),
    ['hosted', 'pulled'],
  );
  const [url = ''] = await urlsOf(release, 'pulled');
  assert.deepEqual(outcomes(await callAtOnce(url, 1)), { 200: 1 });
});
