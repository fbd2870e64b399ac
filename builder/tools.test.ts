import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import type { BuildEvent } from '../shared/protocol/builder-wire.ts';
import { buildMeta } from '../shared/protocol/builder-wire.ts';
import { systemClock } from '../shared/wait/clock.ts';
import { silentLog } from '../shared/log.ts';
import { tarGzOf } from '../shared/source/testing/archive.ts';
import { createContainersTool } from './containers-tool.ts';
import { createDockerTool } from './docker-tool.ts';
import { openBuilder, type BuilderOptions } from './open-builder.ts';
import { registriesConf } from './registries-conf.ts';
import { reservedSecret, type RunFolders, type ToolSettings } from './tool.ts';
import { runBuild } from './build-run.ts';

const folders: RunFolders = { context: '/c', scratch: '/s', runroot: '/r', storage: '/slot' };
const meta = buildMeta.parse({
  tag: 'tag1',
  image: 'registry.example/team/app:tag1',
  dockerfile: 'sub/Dockerfile',
  args: { PLAIN: 'p', BOTH: 'not this' },
  secretArgs: { TOKEN: 'secret', BOTH: 'secret too' },
  target: 'final',
});
const settings: ToolSettings = {
  authFile: '/auth/config.json',
  certificates: '/certs',
  registriesConf: '/registries.conf',
  isolation: 'chroot',
  env: { PATH: '/bin', HOLDFAST_TOKEN: 'ours', HTTPS_PROXY: 'http://proxy' },
};

test('no secret is in a command line, and none of our variables in an environment', () => {
  for (const tool of [
    createContainersTool('buildah', settings),
    createContainersTool('podman', settings),
    createDockerTool({ ...settings, configFolder: '/auth' }),
  ]) {
    const build = tool.build(meta, folders);
    assert.equal(build.file, tool.name);
    assert.ok(!build.args.join(' ').includes('secret'), tool.name);
    assert.ok(!build.args.includes('BOTH=not this'));
    assert.ok(build.args.includes('PLAIN=p') && build.args.includes('TOKEN') && build.args.at(-1) === '/c');
    const { TOKEN, BOTH, HTTPS_PROXY, HOLDFAST_TOKEN, TMPDIR } = build.env;
    assert.deepEqual(
      [TOKEN, BOTH, HTTPS_PROXY, HOLDFAST_TOKEN, TMPDIR],
      ['secret', 'secret too', 'http://proxy', undefined, '/s'],
    );
    assert.equal(tool.push(meta, folders).env['TOKEN'], undefined);
  }
});

test('names by which git, which ADD may run outside of the container, runs commands cannot be secret arguments', () => {
  for (const name of [
    'GIT_SSH_COMMAND',
    'GIT_SSH',
    'GIT_CONFIG_COUNT',
    'GIT_EXEC_PATH',
    'SSH_ASKPASS',
    'TAR_OPTIONS',
  ]) {
    assert.equal(reservedSecret({ ...meta, secretArgs: { [name]: 'x' } }), name);
  }
  const allowed = { GIT_TOKEN: 'x', GIT_PASSWORD: 'x', SSH_PRIVATE_KEY: 'x' };
  assert.equal(reservedSecret({ ...meta, secretArgs: allowed }), undefined);
});

test('names that the programs themselves read cannot be secret arguments', () => {
  for (const name of ['PATH', 'LD_PRELOAD', 'HOME', 'DOCKER_HOST', 'BUILDAH_ISOLATION', 'GODEBUG', 'TMPDIR']) {
    assert.equal(reservedSecret({ ...meta, secretArgs: { [name]: 'x' } }), name);
  }
  assert.equal(reservedSecret({ ...meta, secretArgs: { NPM_TOKEN: 'x', GITHUB_TOKEN: 'x', PATHS: 'x' } }), undefined);
});

test('insecure registries are added to the registries.conf of the machine', () => {
  const own = '[[registry]]\nlocation = "mirrored"\n';
  assert.equal(
    registriesConf(own, ['h:5000']),
    `unqualified-search-registries = ["docker.io"]\n${own}\n\n[[registry]]\nlocation = "h:5000"\ninsecure = true\n`,
  );
  assert.equal(registriesConf('unqualified-search-registries = ["x"]', []), 'unqualified-search-registries = ["x"]\n');
});

/** A folder with a program `docker` that does what the script says. */
async function fakeDocker(t: TestContext, script: string): Promise<{ readonly folder: string; readonly PATH: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-docker-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'docker'), `#!/bin/sh\n${script}\n`);
  await chmod(join(folder, 'docker'), 0o755);
  return { folder, PATH: `${folder}:/usr/bin:/bin` };
}

test('docker builds, pushes, tells the digest, and forgets the name of the image', async (t) => {
  const digest = `sha256:${'b'.repeat(64)}`;
  const log = '"$(dirname "$0")/calls"';
  const { folder, PATH } = await fakeDocker(
    t,
    `echo "$@" >> ${log}\ncase "$1" in build) echo "built with $TOKEN";; push) echo "tag1: digest: ${digest} size: 528";; esac`,
  );
  const work = join(folder, 'build');
  await mkdir(work);
  const archive = join(work, 'context.tar.gz');
  await writeFile(archive, tarGzOf({ name: 'sub/Dockerfile', data: 'FROM x' }));
  const sent: BuildEvent[] = [];
  const outcome = await runBuild(
    {
      tool: createDockerTool({ ...settings, env: { PATH }, authFile: undefined, configFolder: undefined }),
      prefix: [],
      storage: folder,
      runroots: folder,
      limits: { maxBytes: 1_000_000, maxFiles: 10, maxDepth: 10, maxPathBytes: 100 },
      timeoutMs: 20_000,
      minFreeBytes: 0,
      clock: systemClock,
      killed: new AbortController().signal,
      log: silentLog,
    },
    {
      meta,
      folder: work,
      archive,
      slot: 0,
      signal: AbortSignal.timeout(20_000),
      send: (event) => Promise.resolve(void sent.push(event)),
    },
  );
  assert.deepEqual(outcome, { digest });
  assert.ok(sent.some((event) => 'line' in event && event.line === 'built with ***'));
  const calls = (await readFile(join(folder, 'calls'), 'utf8')).trim().split('\n');
  assert.match(calls[0] ?? '', /^build --force-rm .*--file .*\/context\/sub\/Dockerfile .*\/context$/);
  assert.deepEqual(calls.slice(1), [`push ${meta.image}`, `image rm --no-prune ${meta.image}`]);
});

test('a builder without a program, or with options that do not fit it, is not opened', async (t) => {
  const { folder, PATH } = await fakeDocker(t, 'echo Docker version 1');
  const options: BuilderOptions = {
    host: '127.0.0.1',
    port: 0,
    token: undefined,
    tls: undefined,
    tool: undefined,
    dataFolder: join(folder, 'data'),
    authFile: undefined,
    certificates: undefined,
    insecure: [],
    isolation: 'chroot',
    destinations: [],
    maxConcurrent: 1,
    maxQueue: 1,
    maxContextBytes: 1_000,
    maxTreeBytes: 1_000,
    maxFiles: 10,
    timeoutMs: 10_000,
    minFreeBytes: 0,
  };
  const open = async (more: Partial<BuilderOptions>, path: string): Promise<void> => {
    const { signal: killed } = new AbortController();
    const env = { PATH: path };
    const deps = { env, isRoot: false, killed, clock: systemClock, log: silentLog };
    await (await openBuilder({ ...options, ...more }, deps)).close();
  };
  await assert.rejects(open({}, '/nowhere'), { code: 'config_invalid', message: /none of buildah, podman, docker/ });
  await assert.rejects(open({ tool: 'podman' }, folder), { code: 'config_invalid', message: /podman cannot be run/ });
  const docker = { tool: 'docker' } as const;
  await assert.rejects(open({ ...docker, insecure: ['h'] }, PATH), { message: /docker daemon/ });
  await assert.rejects(open({ ...docker, authFile: '/x/auth.json' }, PATH), { message: /a file named config\.json/ });
  await open(docker, PATH);
});
