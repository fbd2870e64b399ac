import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { claimFolder } from './claim.ts';
import { stateFolder } from '../state-folder.ts';
import { openStateFolder } from './open-state-folder.ts';

async function bench(
  t: TestContext,
): Promise<{ readonly root: string; readonly env: { readonly XDG_STATE_HOME: string } }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-state-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const root = join(folder, 'my project');
  await mkdir(root);
  return { root, env: { XDG_STATE_HOME: join(folder, 'state') } };
}

async function writeFormer(root: string): Promise<string> {
  const former = join(root, '.holdfast');
  for (const name of ['pg', 'tokens', 'installed']) await mkdir(join(former, name), { recursive: true });
  await writeFile(join(former, 'pg', 'PG_VERSION'), '17');
  await writeFile(join(former, 'tokens', 'cli'), 'token');
  return former;
}

test('each folder has its state below the state folder of the user, who alone can read it', async (t) => {
  const { root, env } = await bench(t);
  const folder = await openStateFolder(root, env, false);
  assert.match(folder, /\/state\/holdfast\/my-project-[0-9a-f]{16}$/);
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  await symlink(root, `${root}-link`);
  assert.equal(stateFolder(`${root}-link`, env), folder, 'the same folder by another path');
  await mkdir(`${root}2`);
  assert.notEqual(stateFolder(`${root}2`, env), folder);
  assert.match(
    stateFolder(root, { XDG_STATE_HOME: 'relative', HOME: '/home/ann' }),
    /^\/home\/ann\/\.local\/state\/holdfast\//,
  );
  assert.equal(existsSync(join(root, '.holdfast')), false);
});

test('state in the folder itself is refused, for it may have come with a repository, until it is adopted', async (t) => {
  const { root, env } = await bench(t);
  const former = await writeFormer(root);
  await assert.rejects(openStateFolder(root, env, false), /holdfast start --adopt/);
  assert.ok(existsSync(join(former, 'pg')));
  const folder = await openStateFolder(root, env, true);
  assert.deepEqual((await readdir(folder)).toSorted(), ['pg', 'tokens']);
  assert.equal(await readFile(join(folder, 'tokens', 'cli'), 'utf8'), 'token');
  assert.equal(existsSync(former), false);
  assert.equal(await openStateFolder(root, env, false), folder);
  await writeFormer(root);
  await assert.rejects(openStateFolder(root, env, true), /both .* hold data/);
});

test('state that an earlier release still uses is not adopted', async (t) => {
  const { root, env } = await bench(t);
  const claim = await claimFolder(await writeFormer(root));
  await assert.rejects(openStateFolder(root, env, true), /already running/);
  await claim.release();
  await openStateFolder(root, env, true);
});

test('a state folder that is a link is refused', async (t) => {
  const { root, env } = await bench(t);
  await mkdir(join(env.XDG_STATE_HOME, 'holdfast'), { recursive: true });
  await symlink(root, stateFolder(root, env));
  await assert.rejects(openStateFolder(root, env, false), /not a folder of this user/);
});
