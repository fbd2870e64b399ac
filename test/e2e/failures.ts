/** Versions that cannot run are found fast and reported with cause and logs, and calls go to the previous version. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callAtOnce } from '../support/load.ts';
import {
  allAnswered,
  applied,
  newestFailed,
  testImage,
  urlsOf,
  warmLoad,
  type AppOptions,
  type Scenario,
} from './scenario.ts';

const foundWithinMs = 15_000;

interface Case {
  readonly what: string;
  readonly version: Partial<AppOptions>;
  readonly code: string;
  /** Expected in the output of `holdfast versions`. */
  readonly shown: RegExp;
}

const cases: readonly Case[] = [
  { what: 'a version that crashes', version: { mode: 'crash' }, code: 'app_crashed', shown: /MODE is crash/ },
  {
    what: 'an image that does not exist',
    version: { image: 'nothing:9' },
    code: 'image_not_found',
    shown: /nothing:9/,
  },
  {
    what: 'a version that never listens (start deadline 10 s)',
    version: { mode: 'never-ready', config: 'container.start_deadline_secs = 10' },
    code: 'app_not_ready',
    shown: /still not ready/,
  },
  {
    what: 'a version that is never healthy (start deadline 10 s)',
    version: { mode: 'unhealthy', config: 'container.start_deadline_secs = 10' },
    code: 'app_not_ready',
    shown: /healthz/,
  },
];

export const failures: Scenario = (release) => {
  for (const { what, version, code, shown } of cases) {
    test(`${what}: found within 15 s, shown with its cause, and the previous version answers`, async (t) => {
      const name = `fails-${code.replaceAll('_', '-')}-${version.mode ?? 'image'}`;
      await applied(release, { name, says: '1' });
      const load = await warmLoad(t, release, name);
      const image = version.image === undefined ? testImage() : testImage().replace(/test-app:1$/, 'nothing:9');
      await applied(release, { name, says: '2', ...version, image });
      const failed = await newestFailed(release, name, foundWithinMs);
      assert.equal(failed.failure?.code, code);
      const printed = await release.cli('versions', name);
      assert.match(printed.stdout, shown);
      allAnswered(await load.stop());
      assert.equal((await release.call('apps.get', { app: name })).liveVersion, 1);
    });
  }

  test('with on_failed_update = "fail" calls get 502 problem+json with the code and no logs', async () => {
    const name = 'fails-for-good';
    await applied(release, { name, says: '1' });
    const [url = ''] = await urlsOf(release, name);
    allAnswered(await callAtOnce(url, 1));
    await applied(release, { name, says: '2', mode: 'crash', config: 'on_failed_update = "fail"' });
    for (const attempt of ['held', 'later']) {
      const [record] = await callAtOnce(url, 1);
      assert.equal(record?.status, 502, attempt);
      assert.match(record.body, /"code":"app_crashed"/);
      assert.doesNotMatch(record.body, /MODE is crash/);
    }
  });
};
