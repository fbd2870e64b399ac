import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { appSpec, type AppSpecInput } from '../../../shared/protocol/app-spec.ts';
import { installEnvironment, resolveCommand, type Command } from './command.ts';
import { planFolder } from './plan.ts';

async function resolveIn(
  t: TestContext,
  files: Readonly<Record<string, string>>,
  options: { spec?: Partial<AppSpecInput>; env?: Record<string, string>; volumes?: ReadonlyMap<string, string> } = {},
): Promise<Command & { readonly folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-command-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
    await chmod(join(folder, path), 0o755);
  }
  const spec = appSpec.parse({ name: 'shop', path: '/shop', source: folder, ...options.spec });
  const command = await resolveCommand({
    spec,
    version: 3,
    folder,
    plan: await planFolder(spec, folder),
    volumes: options.volumes ?? new Map(),
    nodePath: process.execPath,
    env: { PATH: process.env['PATH'], ...options.env },
  });
  return { ...command, folder };
}

const packageOf = (value: unknown): Record<string, string> => ({ 'package.json': JSON.stringify(value) });

void test('what to run comes from the command, the start script, main, or a well-known file, in this order', async (t) => {
  const start = { scripts: { start: 'node a.js --port=1' }, main: 'b.js' };
  const cases: [Readonly<Record<string, string>>, readonly string[]][] = [
    [{ ...packageOf(start), 'server.js': '' }, ['node', 'a.js', '--port=1']],
    [packageOf({ scripts: { start: 'A=1 node a.js && true' } }), ['sh', '-c', 'A=1 node a.js && true']],
    [packageOf({ scripts: { start: 'cd lib' } }), ['sh', '-c', 'cd lib']],
    [{ ...packageOf({ main: 'b.js' }), 'b.js': '', 'server.js': '' }, ['node', 'b.js']],
    [{ ...packageOf({ main: 'gone.js' }), 'index.js': '' }, ['node', 'index.js']],
    [{ 'server.js': '', 'app.py': '' }, ['node', 'server.js']],
    [{ 'server.ts': '' }, ['node', 'server.ts']],
    [{ 'main.py': '' }, ['python3', 'main.py']],
  ];
  for (const [files, argv] of cases) assert.deepEqual((await resolveIn(t, files)).argv, argv);
  const { argv } = await resolveIn(t, packageOf(start), { spec: { command: ['node', 'c.js'] } });
  assert.deepEqual(argv, ['node', 'c.js']);
});

void test('a folder that does not say what to run is refused with what to add', async (t) => {
  await assert.rejects(resolveIn(t, { 'README.md': '' }), {
    code: 'dockerfile_invalid',
    message: /start script, a server.js/,
  });
  await assert.rejects(resolveIn(t, { 'package.json': '{' }), { code: 'source_invalid', message: /package.json/ });
});

void test('a command is looked for in the folder, its node_modules/.bin and PATH; one that is not there is named', async (t) => {
  const files = { 'node_modules/.bin/tool': '#!/bin/sh\n', 'bin/run': '#!/bin/sh\n' };
  for (const command of [['tool'], ['./bin/run'], ['sh', '-c', 'true'], ['/bin/sh']]) {
    assert.deepEqual((await resolveIn(t, files, { spec: { command } })).argv, command);
  }
  for (const command of [['no-such-tool'], ['./bin/none'], ['/'], ['']]) {
    await assert.rejects(resolveIn(t, files, { spec: { command } }), { code: 'app_config_invalid', phase: 'start' });
  }
});

void test('the environment is small: a few variables of the agent, those of the spec, and the identity of the app', async (t) => {
  const { env, folder } = await resolveIn(
    t,
    { 'server.js': '' },
    {
      spec: { env: { A: '1', HOLDFAST_APP: 'other' }, secrets: { B: '2' } },
      env: { HOME: '/home/someone', HOLDFAST_TOKEN: 'secret', DATABASE_URL: 'secret' },
      volumes: new Map([['my-data', '/somewhere']]),
    },
  );
  const { PATH, ...rest } = env;
  assert.deepEqual(rest, {
    HOME: '/home/someone',
    HOST: '127.0.0.1',
    NODE_ENV: 'production',
    A: '1',
    B: '2',
    HOLDFAST_APP: 'shop',
    HOLDFAST_VERSION: '3',
    HOLDFAST_PATH: '/shop',
    HOLDFAST_VOLUME_MY_DATA: '/somewhere',
  });
  assert.deepEqual(PATH?.split(':').slice(0, 2), [dirname(process.execPath), join(folder, 'node_modules/.bin')]);
});

void test('installing gets what reaches registries and the build arguments, and nothing of the app or the agent', async () => {
  const spec = appSpec.parse({
    name: 'shop',
    path: '/shop',
    source: '/x',
    env: { A: '1' },
    secrets: { B: '2' },
    build: { args: { MODE: 'x' } },
    build_secrets: { KEY: 'y' },
  });
  const plan = { binaries: ['bin'], installEnv: { CI: 'true' } };
  const env = {
    PATH: '/usr/bin',
    HTTPS_PROXY: 'p',
    npm_config_registry: 'r',
    npm_config_prefix: 'not this',
    PIP_INDEX_URL: 'i',
    GOPROXY: 'g',
    HOLDFAST_TOKEN: 'secret',
  };
  const { PATH, ...rest } = installEnvironment({ spec, folder: '/f', plan, nodePath: '/n/node', env });
  assert.equal(PATH, '/n:/f/bin:/usr/bin');
  assert.deepEqual(rest, {
    HTTPS_PROXY: 'p',
    npm_config_registry: 'r',
    PIP_INDEX_URL: 'i',
    GOPROXY: 'g',
    npm_config_update_notifier: 'false',
    CI: 'true',
    MODE: 'x',
    KEY: 'y',
  });
});

void test('a command of the app runs in place of what the preset starts, with what the preset installs', async (t) => {
  const worker = { ...packageOf({ dependencies: { a: '1' } }), 'worker.js': '' };
  assert.deepEqual((await resolveIn(t, worker, { spec: { command: ['node', 'worker.js'] } })).argv, [
    'node',
    'worker.js',
  ]);
  const tree = await resolveIn(t, worker, { spec: { command: ['node', 'worker.js'] } });
  const spec = appSpec.parse({ name: 'shop', path: '/shop', source: '/x', command: ['node', 'worker.js'] });
  assert.equal((await planFolder(spec, tree.folder)).install.length, 1);
  await assert.rejects(resolveIn(t, worker), { code: 'dockerfile_invalid' });
  const misfit = await resolveIn(t, { 'go.mod': 'module x' }, { spec: { command: ['sh', '-c', 'true'] } });
  assert.deepEqual(misfit.argv, ['sh', '-c', 'true']);
  await assert.rejects(resolveIn(t, { 'go.mod': 'module x' }), { code: 'dockerfile_invalid' });
});
