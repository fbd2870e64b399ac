import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { appSpec } from '../protocol/app-spec.ts';
import { defaultSourceLimits } from '../source/limits.ts';
import { systemClock } from '../wait/clock.ts';
import { eventually } from '../wait/testing/eventually.ts';
import { FolderWatch } from './folder-watch.ts';

interface Bench {
  readonly root: string;
  /** Resolves when a change has been told since the call before. */
  readonly told: () => Promise<void>;
  readonly count: () => number;
}

/** Watches a real folder by the system's clock: what is tested is what the system reports. */
async function watched(t: TestContext, files: Readonly<Record<string, string>>): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-watch-'));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), text);
  }
  let count = 0;
  let seen = 0;
  const watch = new FolderWatch({
    root,
    spec: () => appSpec.parse({ name: 'a', path: '/a', source: root }),
    limits: defaultSourceLimits,
    clock: systemClock,
    onChange: () => (count += 1),
  });
  t.after(async () => {
    await watch.close();
    await rm(root, { recursive: true, force: true });
  });
  const told = async (): Promise<void> => {
    await eventually(30_000, () => assert.ok(count > seen));
    seen = count;
  };
  await told();
  return { root, told, count: () => count };
}

const site = { 'package.json': '{"scripts":{"start":"node server.js"}}', 'server.js': 'one', 'lib/a.js': '' };

void test('a saved file is a change, also if an editor replaces it, and files in new folders are', async (t) => {
  const { root, told } = await watched(t, site);
  await writeFile(join(root, 'server.js'), 'two');
  await told();
  await writeFile(join(root, 'lib', '.a.js.swp'), 'three');
  await rename(join(root, 'lib', '.a.js.swp'), join(root, 'lib', 'a.js'));
  await told();
  await mkdir(join(root, 'new', 'deep'), { recursive: true });
  await writeFile(join(root, 'new', 'deep', 'file'), '1');
  await told();
  await writeFile(join(root, 'new', 'deep', 'file'), '22');
  await told();
  await rm(join(root, 'lib', 'a.js'));
  await told();
});

void test('a folder that is deleted and made anew is watched again, the watched one itself too', async (t) => {
  const { root, told } = await watched(t, site);
  await rm(join(root, 'lib'), { recursive: true });
  await mkdir(join(root, 'lib'));
  await writeFile(join(root, 'lib', 'b.js'), '');
  await told();
  await writeFile(join(root, 'lib', 'b.js'), 'more');
  await told();
  await rm(root, { recursive: true });
  await mkdir(root);
  await writeFile(join(root, 'index.html'), '1');
  await told();
  await writeFile(join(root, 'index.html'), '22');
  await told();
});

void test('what is left out is no change, until the rules change', async (t) => {
  const { root, told, count } = await watched(t, {
    ...site,
    '.dockerignore': '*.log\n',
    'node_modules/a/index.js': '',
    '.git/HEAD': '',
  });
  const before = count();
  for (const path of ['app.log', 'node_modules/a/index.js', 'node_modules/a/more.js', '.git/HEAD', '.git/x'])
    await writeFile(join(root, path), `${path} changed`);
  // A change that counts comes after them, and is the only one.
  await writeFile(join(root, 'server.js'), 'two');
  await told();
  assert.equal(count(), before + 1);
  await writeFile(join(root, '.dockerignore'), '');
  await told();
});

void test('a folder that cannot be a source is a change too, and so is its repair', async (t) => {
  const { root, told } = await watched(t, { ...site, '.dockerignore': 'x\n' });
  await writeFile(join(root, '.dockerignore'), '[\n');
  await told();
  await writeFile(join(root, '.dockerignore'), 'y\n');
  await told();
});

void test('while git rewrites the folder nothing is told; then the end is', async (t) => {
  const { root, told, count } = await watched(t, { ...site, '.git/HEAD': '' });
  const before = count();
  await writeFile(join(root, '.git', 'index.lock'), '');
  for (let file = 0; file < 2_000; file += 1) await writeFile(join(root, 'lib', `f${file}.js`), '');
  await rm(join(root, '.git', 'index.lock'));
  await told();
  assert.ok(count() - before <= 2);
});
