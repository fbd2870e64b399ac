import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { AppError } from '../shared/errors.ts';
import type { DeclaredApp } from '../shared/protocol/app-spec.ts';
import { type AllowedSecrets, readAppFile } from './app-file.ts';

const base = '[[app]]\nname = "hello"\npath = "/hello"\nsource = "hello"\n';

const allowed: AllowedSecrets = { env: ['B_VALUE'], files: [] };

function read(text: string, env: Record<string, string> = {}, files: Record<string, string> = {}): DeclaredApp[] {
  const all: Record<string, string> = { '/work/apps.toml': text, ...files };
  const readFile = (path: string): string => all[path] ?? assert.fail(`no such file ${path}`);
  return readAppFile({ file: '/work/apps.toml', env, readFile }, allowed);
}

function refusal(text: string): string {
  try {
    read(text);
  } catch (error) {
    assert.ok(error instanceof AppError && error.code === 'app_invalid', String(error));
    return error.message.replaceAll('/work/', '');
  }
  return assert.fail('it was accepted');
}

test('a source is meant from the folder of the app file, a URL stays', () => {
  assert.equal(read(base)[0]?.source, '/work/hello');
  assert.equal(
    read(base.replace('"hello"\n', '"hello"\n').replace('source = "hello"', 'source = "https://git.example/a"'))[0]
      ?.source,
    'https://git.example/a',
  );
});

test('secrets come as they are, from the environment or from a file', () => {
  const text = `${base}[app.secrets]\nA = "one"\nB = { env = "B_VALUE" }\nC = { file = "c.txt" }\n`;
  const [app] = read(text, { B_VALUE: 'two' }, { '/work/c.txt': 'three\n' });
  assert.deepEqual(app?.secrets, { A: 'one', B: 'two', C: 'three' });
});

test('a secret that cannot be read is refused with its line', () => {
  const message = refusal(`${base}[app.secrets]\nB = { env = "B_VALUE" }\nC = { file = "c.txt" }\n`);
  assert.match(message, /apps\.toml:6:1: app\[0\]\.secrets\.B: the environment variable B_VALUE is not set/);
  assert.match(message, /apps\.toml:7:1: app\[0\]\.secrets\.C: the file cannot be read/);
});

test('a bad route, an unknown key and a wrong type are named with their lines', () => {
  const message = refusal('[[app]]\nname = "a"\npath = "/a b"\nimage = "x"\nports = 1\nenv = { A = 1 }\n');
  assert.match(message, /apps\.toml:3:1: app\[0\]\.path: must be \/path/);
  assert.match(message, /apps\.toml:5:1: app\[0\]\.ports: is not a known key; did you mean port\?/);
  assert.match(message, /apps\.toml:6:9: app\[0\]\.env\.A: must be a string in quotes, not a number/);
});

test('two apps on one route, and a file without apps, are refused', () => {
  assert.match(
    refusal(`${base}${base.replace('name = "hello"', 'name = "other"')}`),
    /apps\.toml:7:1: app\[1\]\.path: app "hello" has this route already/,
  );
  assert.match(refusal(''), /^apps\.toml: app: is required/);
  assert.match(refusal('app = []'), /apps\.toml:1:1: app: the file has no \[\[app\]\]/);
});

test('rules that join several keys are told with their line', () => {
  assert.match(refusal(`${base}image = "x"\n`), /apps\.toml:5:1: app\[0\]\.image: exactly one of image and source/);
  assert.match(
    refusal(`${base}env = { A = "1" }\nsecrets = { A = "2" }\n`),
    /6:1: app\[0\]\.secrets: a key is both in env and in secrets/,
  );
});

test('a file that is missing is named', () => {
  assert.throws(() => readAppFile({ file: '/nowhere/apps.toml', env: {} }), {
    code: 'app_invalid',
    message: /^\/nowhere\/apps\.toml: cannot be read: ENOENT/,
  });
});

test('secret build arguments come from the environment and from files too', () => {
  const text = `[[app]]
name = "shop"
path = "/shop"
source = "https://git.example/shop.git"
build_secrets = { TOKEN = { env = "SHOP_TOKEN" } }
`;
  const source = { file: 'app.toml', readFile: () => text };
  const all: AllowedSecrets = { env: ['*'], files: [] };
  assert.deepEqual(readAppFile({ ...source, env: { SHOP_TOKEN: 'x' } }, all)[0]?.build_secrets, { TOKEN: 'x' });
  assert.throws(
    () => readAppFile({ ...source, env: {} }, all),
    /build_secrets\.TOKEN: the environment variable SHOP_TOKEN is not set/,
  );
});

test('a file sends no variable and no file of elsewhere that it was not allowed', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'app-file-'));
  t.after(() => rm(folder, { recursive: true }));
  const clone = join(folder, 'clone');
  await mkdir(clone);
  await writeFile(join(folder, 'id_key'), 'private');
  await writeFile(join(clone, 'own.txt'), 'own');
  await symlink('../id_key', join(clone, 'link.txt'));
  const file = join(clone, 'apps.toml');
  const env = { CLOUD_KEY: 'mine' };
  const apply = async (secret: string, allowedNow?: AllowedSecrets): Promise<Record<string, string> | undefined> => {
    await writeFile(file, `${base}[app.secrets]\nA = ${secret}\n`);
    return readAppFile({ file, env }, allowedNow)[0]?.secrets;
  };
  assert.deepEqual(await apply('{ file = "own.txt" }'), { A: 'own' });
  await assert.rejects(apply('{ env = "CLOUD_KEY" }'), /secrets\.A: the app would get .* add --allow-env CLOUD_KEY/);
  for (const path of ['../id_key', 'link.txt', join(folder, 'id_key')]) {
    await assert.rejects(apply(`{ file = "${path}" }`), /outside the folder of the app file; .* --allow-file/);
    const files = [join(folder, 'id_key')];
    assert.deepEqual(await apply(`{ file = "${path}" }`, { env: [], files }), { A: 'private' });
  }
  assert.deepEqual(await apply('{ env = "CLOUD_KEY" }', { env: ['CLOUD_KEY'], files: [] }), { A: 'mine' });
});
