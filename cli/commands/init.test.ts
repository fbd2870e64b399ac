import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runCli } from '../run.ts';

const examples = join(import.meta.dirname, '..', '..', 'examples');

async function init(cwd: string, ...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const code = await runCli(['init', ...args], {
    env: {},
    cwd,
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    interrupted: new AbortController().signal,
    killed: new AbortController().signal,
    ask: async () => undefined,
    connect: () => assert.fail('nothing is sent'),
  });
  return { code, out, err };
}

async function copyOf(t: TestContext, example: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-init-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await cp(join(examples, example), folder, { recursive: true });
  return folder;
}

void test('each example gets the Dockerfile of its preset', async (t) => {
  const cases: [string, RegExp, readonly string[]][] = [
    ['node', /^RUN npm ci --omit=dev/m, ['Dockerfile', '.dockerignore']],
    ['python', /gunicorn .* app:app/, ['Dockerfile', '.dockerignore']],
    ['go', /^FROM scratch$/m, ['Dockerfile', '.dockerignore']],
    ['static', /^USER 101:101$/m, ['Dockerfile', 'nginx.holdfast.conf', '.dockerignore']],
  ];
  for (const [example, dockerfile, files] of cases) {
    const folder = await copyOf(t, example);
    const before = await readdir(folder);
    const { code, out } = await init('/', folder, '-o', 'json');
    assert.equal(code, 0);
    const result = JSON.parse(out) as { preset: string; files: string[] };
    assert.deepEqual([result.preset, result.files], [example, files]);
    assert.match(await readFile(join(folder, 'Dockerfile'), 'utf8'), dockerfile);
    assert.deepEqual((await readdir(folder)).toSorted(), [...before, ...files].toSorted());
  }
});

void test('nothing is overwritten without --force, and a .dockerignore never', async (t) => {
  const folder = await copyOf(t, 'dockerfile');
  await writeFile(join(folder, '.dockerignore'), 'mine\n');
  const own = await readFile(join(folder, 'Dockerfile'), 'utf8');
  const refused = await init(folder);
  assert.deepEqual([refused.code, refused.out], [2, '']);
  assert.match(refused.err, /Dockerfile exists already; --force overwrites/);
  assert.equal(await readFile(join(folder, 'Dockerfile'), 'utf8'), own);
  const forced = await init(folder, '.', '--force');
  assert.equal(forced.code, 0);
  assert.match(forced.out, /^Found: node \(.*starts node server\.js\)\nWrote: Dockerfile\n/);
  assert.notEqual(await readFile(join(folder, 'Dockerfile'), 'utf8'), own);
  assert.equal(await readFile(join(folder, '.dockerignore'), 'utf8'), 'mine\n');
});

void test('a folder that no preset fits, and one that is none, are told', async (t) => {
  const folder = await copyOf(t, 'rpc');
  const unfit = await init(folder);
  assert.equal(unfit.code, 1);
  assert.match(unfit.err, /dockerfile_invalid: .*no preset fits/);
  assert.equal((await init(folder, 'nothing')).code, 2);
  assert.match((await init(folder, '--preset', 'go')).err, /go mod init/);
});
