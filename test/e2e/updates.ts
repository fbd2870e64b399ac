/** First calls and version changes under load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAtOnce, outcomes, versionOf } from '../support/load.ts';
import { kubectl, objectsIn, pods } from './cluster.ts';
import { allAnswered, applied, said, until, urlsOf, warmLoad, type Scenario } from './scenario.ts';

export const updates: Scenario = (release) => {
  test('1,000 concurrent first calls through two routers: 1,000 answers, one Deployment, one Service; before them nothing', async () => {
    const before = await objectsIn(release.appsNamespace);
    await applied(release, { name: 'first', says: '1' });
    assert.deepEqual(await objectsIn(release.appsNamespace), before);
    const urls = await urlsOf(release, 'first');
    const records = await Promise.all(urls.map((url) => callAtOnce(url, 500)));
    assert.deepEqual(outcomes(records.flat()), { 200: 1_000 });
    const names = await kubectl(
      'get',
      'deployments,services',
      '-n',
      release.appsNamespace,
      '-l',
      'holdfast.dev/app=first',
      '-o',
      'name',
    );
    assert.deepEqual(names.trim().split('\n').length, 2, names);
  });

  test('the digest of the image is pinned', async () => {
    await applied(release, { name: 'pinned', says: '1' });
    const { versions } = await release.call('versions.list', { app: 'pinned' });
    assert.match(versions[0]?.imageDigest ?? '', /^sha256:[0-9a-f]{64}$/);
  });

  test('strict, through two routers at 50 calls/s: no call fails, none that began after apply is answered by v1', async (t) => {
    await applied(release, { name: 'strict', says: '1' });
    const load = await warmLoad(t, release, 'strict');
    await applied(release, { name: 'strict', says: '2' });
    const returnedMs = performance.now();
    await until(30_000, () => said(load, '2'), 'v2 does not answer');
    const records = await load.stop();
    allAnswered(records);
    assert.deepEqual(
      records.filter((record) => record.startMs > returnedMs && versionOf(record) === '1'),
      [],
    );
  });

  test('relaxed: calls go on once one v2 pod is Ready, though the three v1 pods are not all gone', async (t) => {
    const options = { name: 'relaxed', keys: 'min_replicas = 3', config: 'kubernetes.strict_version_check = false' };
    await applied(release, { ...options, says: '1' });
    const load = await warmLoad(t, release, 'relaxed');
    const old = 'holdfast.dev/app=relaxed,holdfast.dev/version=1';
    await until(60_000, async () => (await pods(release.appsNamespace, old)).length === 3, 'three pods of v1');
    await applied(release, { ...options, says: '2' });
    await until(30_000, () => said(load, '2'), 'v2 does not answer');
    assert.ok(
      (await kubectl('get', 'pods', '-n', release.appsNamespace, '-l', old, '-o', 'name')).includes('pod/'),
      'v1 is gone already',
    );
    allAnswered(await load.stop());
  });

  test('update.hold = false: v1 answers until v2 has started, and no call is held', async (t) => {
    const config = 'update.hold = false';
    await applied(release, { name: 'unheld', says: '1', config });
    const load = await warmLoad(t, release, 'unheld');
    await applied(release, { name: 'unheld', says: '2', mode: 'slow', config });
    const appliedMs = performance.now();
    await until(30_000, () => said(load, '2'), 'v2 does not answer');
    const records = await load.stop();
    allAnswered(records);
    const first = records.find((record) => versionOf(record) === '2');
    const meanwhile = records.filter(
      (record) => record.startMs > appliedMs && record.startMs < (first?.startMs ?? 0) - 100,
    );
    assert.ok(meanwhile.length > 20, 'v2 came too soon to tell');
    assert.deepEqual(
      meanwhile.filter((record) => versionOf(record) !== '1' || record.held),
      [],
    );
  });

  test('rollback is a pointer move, by the command line', async () => {
    const rollback = await release.cli('rollback', 'strict');
    assert.equal(rollback.code, 0, rollback.stderr);
    const [url = ''] = await urlsOf(release, 'strict');
    const [record] = await callAtOnce(url, 1);
    assert.equal(record && versionOf(record), '1');
  });
};
