/** What people do to objects by hand, and what stays of an app that is deleted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAtOnce } from '../support/load.ts';
import { kubectl, objectsIn, pods } from './cluster.ts';
import { allAnswered, applied, until, urlsOf, warmLoad, type Scenario } from './scenario.ts';

export const repairs: Scenario = (release) => {
  const apps = release.appsNamespace;

  test('Deployment deleted by hand: the next call is answered', async () => {
    await applied(release, { name: 'drift', says: '1' });
    const [url = ''] = await urlsOf(release, 'drift');
    allAnswered(await callAtOnce(url, 1));
    await kubectl('delete', 'deployment', '-n', apps, '-l', 'holdfast.dev/app=drift');
    allAnswered(await callAtOnce(url, 1));
  });

  test('Service edited by hand: repaired', async () => {
    const patch = '{"spec":{"selector":{"holdfast.dev/version":"999"}}}';
    await kubectl('patch', 'service', '-n', apps, 'hf-drift', '--type=merge', '-p', patch);
    await until(
      15_000,
      async () =>
        (await kubectl('get', 'service', '-n', apps, 'hf-drift', '-o', 'jsonpath={.spec.selector}')).includes(
          '"holdfast.dev/version":"1"',
        ),
      'the selector is still wrong',
    );
  });

  test('a pod killed under load: no call fails', async (t) => {
    await applied(release, { name: 'killed', says: '1' });
    const load = await warmLoad(t, release, 'killed');
    const [pod] = await pods(apps, 'holdfast.dev/app=killed');
    const before = load.records.length;
    await kubectl('delete', 'pod', '-n', apps, pod?.metadata.name ?? '', '--wait=false');
    await until(
      30_000,
      async () =>
        (await pods(apps, 'holdfast.dev/app=killed')).some(
          ({ metadata, status }) => metadata.uid !== pod?.metadata.uid && status.podIP !== undefined,
        ),
      'no new pod',
    );
    await until(30_000, () => load.records.length > before + 100, 'calls do not go on');
    allAnswered(await load.stop());
  });

  test('an app with a volume keeps its data over versions, and loses it only when asked', async () => {
    const keys = '[[app.volumes]]\nname = "data"\npath = "/data"\nsize = "1Gi"';
    await applied(release, { name: 'volume', says: '1', keys });
    const [url = ''] = await urlsOf(release, 'volume');
    allAnswered(await callAtOnce(url, 1));
    await applied(release, { name: 'volume', says: '2', keys });
    allAnswered(await callAtOnce(url, 1));
    await release.cli('delete', 'volume', '--yes');
    assert.deepEqual(
      (await objectsIn(apps)).filter((name) => name.includes('volume')),
      ['PersistentVolumeClaim/hf-volume-data'],
    );
    await applied(release, { name: 'volume', says: '3', keys });
    const deleted = await release.cli('delete', 'volume', '--volumes', '--yes');
    assert.equal(deleted.code, 0, deleted.stderr);
    assert.deepEqual(
      (await objectsIn(apps)).filter((name) => name.includes('volume')),
      [],
    );
  });

  test('app deleted: nothing of it is left', async () => {
    await applied(release, {
      name: 'deleted',
      says: '1',
      keys: 'secrets = { PASSWORD = "secret" }\nmax_replicas = 2\ncpus = "100m"',
    });
    const [url = ''] = await urlsOf(release, 'deleted');
    allAnswered(await callAtOnce(url, 1));
    const deleted = await release.cli('delete', 'deleted', '--yes');
    assert.equal(deleted.code, 0, deleted.stderr);
    assert.deepEqual(
      (await objectsIn(apps)).filter((name) => name.includes('deleted')),
      [],
    );
    assert.equal((await callAtOnce(url, 1))[0]?.status, 404);
    assert.equal((await release.cli('app', 'deleted')).code, 3);
  });
};
