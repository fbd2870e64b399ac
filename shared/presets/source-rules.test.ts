import assert from 'node:assert/strict';
import { chmod, chown, mkdir, mkdtemp, rm, symlink, writeFile, readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { appSpec, type AppSpec } from '../protocol/app-spec.ts';
import { sourceRules } from './source-rules.ts';
import { countLeftOut, summaryText } from '../source/left-out.ts';
import { defaultSourceLimits } from '../source/limits.ts';
import { packFolder } from '../source/pack.ts';
import { walkTree, type TreeListing } from '../source/tree-walk.ts';

const signal = new AbortController().signal;

async function folderWith(t: TestContext, files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-choice-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  return root;
}

function specOf(build: Readonly<Record<string, string>>): AppSpec {
  return appSpec.parse({ name: 'a', path: '/a', source: '/a', build });
}

async function chosen(
  root: string,
  build: Readonly<Record<string, string>> = {},
  limits = defaultSourceLimits,
): Promise<TreeListing> {
  return await walkTree({ root, rules: await sourceRules(root, specOf(build)), limits, signal });
}

const pathsOf = ({ files, links }: TreeListing): string[] => [...files, ...links].map(({ path }) => path).toSorted();

void test('a venv of any name is left out, although it links out of the folder', async (t) => {
  for (const extra of [{}, { Dockerfile: 'FROM scratch\n' }, { '.dockerignore': '*.log\n' }]) {
    const root = await folderWith(t, { 'app.py': '', 'my-env/pyvenv.cfg': '', 'my-env/bin/flask': '', ...extra });
    await symlink('/usr/bin/python3', join(root, 'my-env', 'bin', 'python'));
    const tree = await chosen(root);
    assert.deepEqual(pathsOf(tree), ['app.py', ...Object.keys(extra)].toSorted());
    assert.match(summaryText({ files: 1, bytes: 0, leftOut: tree.leftOut }), /left out: my-env \(a Python venv\)$/);
  }
});

void test('node_modules beside a package.json is left out at any depth, whatever it links to and however much it holds', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`node_modules/.pnpm/m${n}/index.js`, '']));
  const root = await folderWith(t, {
    'package.json': '{"scripts":{"start":"node server.js"},"dependencies":{"lib":"*"}}',
    'server.js': '',
    'packages/lib/package.json': '{"name":"lib"}',
    'packages/lib/node_modules/x/index.js': '',
    '.dockerignore': '*.md\n',
    'README.md': '',
    ...many,
  });
  await symlink('../../elsewhere/lib', join(root, 'node_modules', 'lib'));
  const tree = await chosen(root, undefined, { ...defaultSourceLimits, maxFiles: 10 });
  assert.deepEqual(pathsOf(tree), ['.dockerignore', 'package.json', 'packages/lib/package.json', 'server.js']);
  const folderFiles = await countLeftOut(root, tree.leftOut, 1_000);
  assert.equal(
    summaryText({ files: 4, bytes: 2_400, leftOut: tree.leftOut, folderFiles }),
    '4 files, 2.4 kB; left out: 1 by .dockerignore, node_modules (31 files, preset node), packages/lib/node_modules (1 file, preset node)',
  );
});

void test('with a Dockerfile, node_modules is left out only if the Dockerfile installs it, and what was built stays', async (t) => {
  const files = { 'package.json': '{}', 'node_modules/a/index.js': '', 'target/app.jar': '', 'pom.xml': '' };
  for (const [dockerfile, isTaken] of [
    ['FROM node\nCOPY . .\nRUN npm ci\n', false],
    ['FROM node\nRUN set -e; \\\n  corepack enable && \\\n  pnpm i\n', false],
    ['FROM node\nCOPY node_modules ./node_modules\nRUN npm rebuild\n', true],
    ['FROM node\nCOPY . .\nCMD ["node", "x.js"]\n', true],
    ['FROM node AS a\nRUN yarn\nFROM node\nCOPY --from=a /app/node_modules ./node_modules\n', false],
  ] as const) {
    const root = await folderWith(t, { ...files, Dockerfile: dockerfile });
    const paths = pathsOf(await chosen(root));
    assert.equal(paths.includes('node_modules/a/index.js'), isTaken, dockerfile);
    assert.ok(paths.includes('target/app.jar'));
  }
});

void test('without anything that installs, node_modules is part of the source; an exception that names it brings it back', async (t) => {
  const root = await folderWith(t, { 'run.sh': '', 'node_modules/a/index.js': '' });
  assert.deepEqual(pathsOf(await chosen(root)), ['node_modules/a/index.js', 'run.sh']);
  const named = await folderWith(t, {
    'package.json': '{"scripts":{"start":"node ."}}',
    'node_modules/a/index.js': '',
    '.dockerignore': '!node_modules\n',
  });
  assert.deepEqual(pathsOf(await chosen(named)), ['.dockerignore', 'node_modules/a/index.js', 'package.json']);
});

void test('a .dockerignore that lists what may in leaves the rest out, without walking what no exception is in', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`data/d${n}`, '']));
  const root = await folderWith(t, {
    '.dockerignore': '*\n!public\n!src/**/*.js\n',
    'public/index.html': '',
    'src/a/b.js': '',
    'src/a/b.ts': '',
    'other/x': '',
    ...many,
  });
  await symlink('/etc/passwd', join(root, 'other', 'out'));
  const tree = await chosen(root, { preset: 'static' }, { ...defaultSourceLimits, maxFiles: 9 });
  assert.deepEqual(pathsOf(tree), ['.dockerignore', 'public/index.html', 'src/a/b.js']);
});

void test('the .dockerignore of a Dockerfile counts instead of that of the folder', async (t) => {
  const root = await folderWith(t, {
    'docker/prod': 'FROM scratch\n',
    'docker/prod.dockerignore': 'b\n',
    '.dockerignore': 'a\n',
    a: '',
    b: '',
  });
  const paths = pathsOf(await chosen(root, { dockerfile: 'docker/prod' }));
  assert.deepEqual(paths, ['.dockerignore', 'a', 'docker/prod', 'docker/prod.dockerignore']);
});

void test('patterns have the meaning that they have for Docker', async (t) => {
  const paths = ['a+b', 'aab', 'c(1)', 'c', 'constructor', 'd/e/f', 'x1', 'x2', 'y', ' z', 'q?', 'qq', '[k]', 'k'];
  const root = await folderWith(t, Object.fromEntries(paths.map((path) => [path, ''])));
  for (const [pattern, ignored] of [
    ['a+b', ['a+b']],
    ['c(1)', ['c(1)']],
    ['/./d/../y/', ['y']],
    ['x[0-1]', ['x1']],
    ['x[^1]', ['x2']],
    ['q\\?', ['q?']],
    ['\\[k]', ['[k]']],
    ['**/f', ['d/e/f']],
    ['d/**', ['d/e/f']],
    ['constructor', ['constructor']],
    ['?', ['c', 'd/e/f', 'k', 'y']],
    ['  y  ', ['y']],
  ] as const) {
    await writeFile(join(root, '.dockerignore'), pattern);
    const taken = pathsOf(await chosen(root, { preset: 'static' }));
    assert.deepEqual(paths.filter((path) => !taken.includes(path)).toSorted(), [...ignored].toSorted(), pattern);
  }
  for (const pattern of ['a[', 'x[]', 'b\\', '!']) {
    await writeFile(join(root, '.dockerignore'), `a\n${pattern}\n`);
    await assert.rejects(chosen(root), { code: 'source_invalid', message: /^\.dockerignore:2 / }, pattern);
  }
});

void test('links in the folder are kept, also to what is left out; one that leads out is refused with what to do', async (t) => {
  const root = await folderWith(t, {
    'package.json': '{"scripts":{"start":"node ."}}',
    'node_modules/tool/bin.js': '',
    'lib/a': '',
  });
  await symlink('node_modules/tool/bin.js', join(root, 'tool'));
  await symlink('../elsewhere', join(root, 'node_modules', 'linked'));
  await symlink('node_modules/linked/config', join(root, 'config'));
  await symlink(join(root, 'lib'), join(root, 'absolute'));
  const { links } = await chosen(root);
  assert.deepEqual(Object.fromEntries(links.map(({ path, target }) => [path, target])), {
    tool: 'node_modules/tool/bin.js',
    config: 'node_modules/linked/config',
    absolute: 'lib',
  });
  await symlink('/etc/hosts', join(root, 'lib', 'hosts'));
  await assert.rejects(chosen(root), {
    code: 'source_invalid',
    message:
      'lib/hosts is a link that leads out of the folder (/etc/hosts): replace it with what it points to, or list it in .dockerignore',
  });
});

void test('too many files are refused with the folder that has most of them', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 30 }, (_, n) => [`data/d${n}`, '']));
  const root = await folderWith(t, { 'app.py': '', ...many });
  await assert.rejects(chosen(root, undefined, { ...defaultSourceLimits, maxFiles: 20 }), {
    code: 'source_invalid',
    message: /holds more than 20 files .*; data has \d+ of them: list what the app does not need in \.dockerignore$/,
  });
});

/** Root may read everything, so the work is done as another user. @param folders belong to that user. */
async function asOrdinaryUser(folders: readonly string[], work: () => Promise<void>): Promise<void> {
  if (process.getuid?.() !== 0) return await work();
  const nobody = 65_534;
  for (const folder of folders) {
    for (const name of ['', ...(await readdir(folder, { recursive: true }))])
      await chown(join(folder, name), nobody, nobody);
  }
  process.seteuid?.(nobody);
  try {
    await work();
  } finally {
    process.seteuid?.(0);
  }
}

void test('a file that may not be read is named, with what to do', async (t) => {
  const root = await folderWith(t, { 'app.py': '', 'secret/key': '' });
  const out = await folderWith(t, {});
  const file = join(out, 'out.tar.gz');
  const pack = async () =>
    packFolder({
      root,
      rules: await sourceRules(root, specOf({})),
      file,
      limits: defaultSourceLimits,
      signal,
    });
  await asOrdinaryUser([root, out], async () => {
    await chmod(join(root, 'secret', 'key'), 0o000);
    await assert.rejects(pack(), {
      code: 'source_invalid',
      message: /^secret\/key cannot be read \(EACCES\): allow it/,
    });
    await chmod(join(root, 'secret'), 0o000);
    await assert.rejects(pack(), { code: 'source_invalid', message: /^secret cannot be read \(EACCES\)/ });
    await chmod(join(root, 'secret'), 0o700);
    await writeFile(join(root, '.dockerignore'), 'secret\n');
    assert.equal((await pack()).files, 2);
  });
});
