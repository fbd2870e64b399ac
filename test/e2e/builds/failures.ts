/** Builds that fail, each for real: told with code, phase and the failing step, while the previous version goes on answering. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAtOnce, outcomes, versionOf } from '../../support/load.ts';
import { kubectl } from '../cluster.ts';
import { allAnswered, newestFailed, until, urlsOf } from '../scenario.ts';
import { appOf, applySource, gitApp, jobs, type BuildGround } from './ground.ts';

interface Failing {
  readonly what: string;
  readonly files: Readonly<Record<string, string>>;
  readonly code: string;
  readonly message: RegExp;
}

const failing: readonly Failing[] = [
  {
    what: 'a step that fails',
    files: appOf('x', 'RUN echo about to break && exit 7'),
    code: 'build_failed',
    message: /exit 7|RUN echo about to break/,
  },
  {
    what: 'a base image that does not exist',
    files: { Dockerfile: 'FROM no-such-image:9\n' },
    code: 'base_image_not_found',
    message: /no-such-image:9/,
  },
  {
    what: 'a Dockerfile that cannot be parsed',
    files: { Dockerfile: 'FROM node:24-slim\nBOIL water\n' },
    code: 'dockerfile_invalid',
    message: /line 2|BOIL/i,
  },
  {
    what: 'no Dockerfile and no preset',
    files: { 'readme.txt': 'hello' },
    code: 'dockerfile_invalid',
    message: /preset/,
  },
  {
    what: 'a build that eats its memory',
    files: appOf('x', 'RUN tail /dev/zero'),
    code: 'build_out_of_memory',
    message: /memory/,
  },
];

export function buildFailures(ground: BuildGround): void {
  const { release } = ground;

  test('each failure of a build is told by its code and step; the previous version answers meanwhile and after', async () => {
    const repository = await ground.git.repository('broken');
    await repository.commit(appOf('good'));
    await applySource(ground, gitApp('broken', repository.url));
    const [url = ''] = await urlsOf(release, 'broken');
    allAnswered(await callAtOnce(url, 1, 240_000));
    for (const { what, files, code, message } of failing) {
      await repository.commit(files);
      await applySource(ground, gitApp('broken', repository.url));
      const [record] = await callAtOnce(url, 1, 240_000);
      assert.equal(record && versionOf(record), 'good', `${what}: ${record?.body}`);
      const version = await newestFailed(release, 'broken', 10_000);
      assert.equal(version.failure?.code, code, `${what}: ${version.failure?.message}`);
      assert.match(version.failure.message, message, what);
    }
  });

  test('a link that leads out of the repository is refused, and nothing is built', async () => {
    const repository = await ground.git.repository('hostile');
    await repository.link('passwd', '/etc/passwd', { Dockerfile: 'FROM node:24-slim\nCOPY . .\n' });
    const before = (await jobs(ground)).length;
    await applySource(ground, gitApp('hostile', repository.url));
    const [url = ''] = await urlsOf(release, 'hostile');
    assert.deepEqual(outcomes(await callAtOnce(url, 1)), { '502 source_invalid': 1 });
    const version = await newestFailed(release, 'hostile', 10_000);
    assert.match(version.failure?.message ?? '', /passwd/);
    assert.equal((await jobs(ground)).length, before);
  });

  test('a branch and a repository that are not there are refused by apply', async () => {
    const repository = await ground.git.repository('refs');
    await repository.commit(appOf('x'));
    const declare = (name: string, url: string, keys?: string) => applySource(ground, gitApp(name, url, keys));
    await assert.rejects(declare('refs', repository.url, 'ref = "nowhere"'), /source_not_found|nowhere/);
    await assert.rejects(declare('norepo', repository.url.replace('refs', 'gone')), /source_not_found|gone/);
  });

  test('the registry away during a build: tried again until it is back; a built app wakes meanwhile', async () => {
    const repository = await ground.git.repository('patient');
    await repository.commit(appOf('p1'));
    await applySource(ground, gitApp('patient', repository.url, '[app.config]\ncontainer.idle_shutdown_secs = 2'));
    const [url = ''] = await urlsOf(release, 'patient');
    allAnswered(await callAtOnce(url, 1, 240_000));
    const asleep = async () => (await release.call('apps.get', { app: 'patient' })).state === 'asleep';
    await until(60_000, asleep, 'the idle app does not go to zero');

    const late = await ground.git.repository('late');
    await late.commit(appOf('late', 'RUN sleep 6'));
    await applySource(ground, gitApp('late', late.url));
    const [lateUrl = ''] = await urlsOf(release, 'late');
    const held = callAtOnce(lateUrl, 5, 240_000);
    await until(60_000, async () => (await jobs(ground)).some(({ status }) => status.active === 1), 'no Job');
    const scale = (replicas: number) =>
      kubectl('scale', 'deployment/holdfast-registry', '-n', release.namespace, `--replicas=${replicas}`);
    await scale(0);
    allAnswered(await callAtOnce(url, 5));
    await until(
      90_000,
      async () => {
        const { builds } = await release.call('builds.list', { app: 'late' });
        const { events } = await release.call('events.list', { app: 'late' });
        return builds.length > 0 && events.length > 0;
      },
      'the build is not told of',
    );
    await scale(1);
    allAnswered(await held);
  });
}
