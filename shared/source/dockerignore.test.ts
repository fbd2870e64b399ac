import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { readDockerignore } from './dockerignore.ts';
import { defaultSourceLimits } from './limits.ts';
import { walkTree } from './tree-walk.ts';

async function listed(t: TestContext, ignore: string, paths: readonly string[], keep?: string[]): Promise<string[]> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-ignore-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), '');
  }
  if (ignore !== '') await writeFile(join(root, '.dockerignore'), ignore);
  const excludes = await readDockerignore(root, keep);
  const tree = await walkTree({
    root,
    rules: { excludes },
    limits: { ...defaultSourceLimits, maxFiles: 10 },
    signal: new AbortController().signal,
  });
  return [...tree.folders.map((path) => `${path}/`), ...tree.files.map(({ path }) => path)].toSorted();
}

void test('without a .dockerignore everything is taken but .git and .holdfast', async (t) => {
  const paths = ['.git/config', '.holdfast/x', 'a/.git', 'a/b', '.env'];
  assert.deepEqual(await listed(t, '', paths), ['.env', 'a/', 'a/b']);
});

void test('patterns are those of Docker: from the root, case kept, comments, ** and exceptions', async (t) => {
  const paths = ['a.log', 'b/a.log', 'c/x.md', 'c/README.md', 'LOG', 'node_modules/x/y', 'd/only.tmp'];
  const ignore = '# logs\n*.log\nlog\nc\n!c/README.md\n/node_modules\n**/*.tmp\nd\n';
  assert.deepEqual(await listed(t, ignore, paths), ['.dockerignore', 'LOG', 'b/', 'b/a.log', 'c/', 'c/README.md']);
});

void test('what is left out is not walked, so that it counts toward no bound', async (t) => {
  const many = Array.from({ length: 30 }, (_, index) => `node_modules/m${index}`);
  assert.deepEqual(await listed(t, 'node_modules', ['a', ...many]), ['.dockerignore', 'a']);
});

void test('the Dockerfile of the app is kept, whatever is left out', async (t) => {
  const paths = ['Dockerfile', 'docker/prod', 'docker/other'];
  assert.deepEqual(await listed(t, '*', paths), ['.dockerignore', 'Dockerfile']);
  assert.deepEqual(await listed(t, '*', paths, ['docker/prod']), [
    '.dockerignore',
    'Dockerfile',
    'docker/',
    'docker/prod',
  ]);
});
