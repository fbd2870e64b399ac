/** `holdfast deploy` of the examples to the embedded default: packed, sent, installed by their presets, called. */
import assert from 'node:assert/strict';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { call, folder, holdfast, start } from '../testing/embedded.ts';

const examples = fileURLToPath(new URL('../../examples', import.meta.url));
const answers: Readonly<Record<string, RegExp>> = {
  node: /^Hello from node: no type$/m,
  python: /^Hello from python$/m,
  go: /^Hello from go$/m,
  static: /Hello from static/,
  dockerfile: /^Hello from a Dockerfile$/m,
};

async function text(url: URL | string): Promise<string> {
  return (await call(url)).body;
}

test('each example is deployed and answers; what has not changed is not sent again; a change is the next version', async (t) => {
  const home = await folder(t);
  const started = await start(t, home);
  const mine = join(home, 'mine');
  await cp(examples, mine, { recursive: true });
  for (const [name, answer] of Object.entries(answers)) {
    const before = await readdir(join(mine, name));
    const deployed = await holdfast(mine, 'deploy', name, '--app', name, '--path', `/${name}`, '--wait');
    assert.equal(deployed.code, 0, deployed.err);
    assert.match(deployed.out, new RegExp(`^${name}: created, version 1\nroute: /${name}\nversion 1 is ready`));
    assert.match(await text(new URL(`/${name}/`, started.base)), answer);
    assert.deepEqual(await readdir(join(mine, name)), before, 'nothing is written into the folder');
  }

  const again = await holdfast(mine, 'deploy', 'static', '--app', 'static', '-o', 'json');
  const result = JSON.parse(again.out) as { sentBytes: number; changes: { action: string }[] };
  assert.deepEqual([result.sentBytes, result.changes[0]?.action], [0, 'unchanged']);

  const page = join(mine, 'static', 'index.html');
  await writeFile(page, (await readFile(page, 'utf8')).replace('Hello from static', 'Hello again'));
  const changed = await holdfast(mine, 'deploy', 'static', '--app', 'static', '--env', 'A=1');
  assert.match(changed.out, /^static: updated, version 2\n/, changed.err);
  assert.match(await text(new URL('/static/', started.base)), /Hello again/);

  const own = await holdfast(mine, 'deploy', 'static', '--app', 'site');
  const url = /^url: (http:\/\/site\.localhost:\d+)$/m.exec(own.out)?.[1] ?? assert.fail(own.out + own.err);
  assert.match(await text(url), /Hello again/, 'an app without a path has a host of its own');
  const { out: app } = await holdfast(mine, 'app', 'site');
  assert.match(app, /^path +site\.localhost\nurl +http:\/\/site\.localhost:\d+$/m);
  assert.match(
    (await holdfast(mine, 'status')).out,
    /^public url +http:\/\/localhost:\d+\ndefault domain +localhost$/m,
  );
  assert.match((await holdfast(mine, 'apps')).out, / URL .*\n(.*\n)*site .* http:\/\/site\.localhost:\d+$/m);

  const failing = join(mine, 'failing');
  await cp(join(mine, 'node'), failing, { recursive: true });
  await writeFile(join(failing, 'package-lock.json'), '{}');
  const failed = await holdfast(mine, 'deploy', 'failing', '--app', 'failing', '--path', '/failing', '--wait');
  assert.equal(failed.code, 1);
  assert.match(failed.err, /holdfast: build_failed: npm ci .* failed with exit code 1\n(  \| .*\n)+/);
});
