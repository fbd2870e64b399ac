/** `holdfast deploy` of each example, built in the cluster by its preset or its Dockerfile. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { callAtOnce } from '../../support/load.ts';
import { urlsOf } from '../scenario.ts';
import type { BuildGround } from './ground.ts';

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url));
/** Folders of examples/ that are apps to deploy. */
export const deployable = ['node', 'python', 'go', 'static', 'dockerfile'];

export function deploys({ release }: BuildGround): void {
  test('every example that is an app is one of these', async () => {
    const folders = await readdir(examples);
    for (const name of deployable) assert.ok(folders.includes(name), `examples/${name} is not there`);
  });

  for (const name of deployable)
    test(`holdfast deploy examples/${name}: the first call is answered`, async () => {
      const app = `example-${name}`;
      const deployed = await release.cli('deploy', `${examples}${name}`, '--app', app, '--path', `/${app}`);
      assert.equal(deployed.code, 0, deployed.stderr);
      const [url = ''] = await urlsOf(release, app);
      const [record] = await callAtOnce(url, 1, 280_000);
      const failure = record?.status === 200 ? '' : JSON.stringify((await release.call('apps.get', { app })).failure);
      assert.equal(record?.status, 200, `${record?.body ?? ''} ${failure}`);
      assert.notEqual(record.body, '');
    });
}
