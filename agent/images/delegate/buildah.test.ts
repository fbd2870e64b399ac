/** The whole way, with nothing faked: an agent's delegate, the builder server, Debian's buildah, a real registry. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { openBuilder, type BuilderOptions, type OpenBuilder } from '../../../builder/open-builder.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import { silentLog } from '../../../shared/log.ts';
import { certificates } from '../../../test/support/certificates.ts';
import { eventually } from '../../../shared/wait/testing/eventually.ts';
import { createRegistry } from '../../registry/registry.ts';
import { startRegistry, type TestRegistry, type TestRegistryOptions } from '../../testing/registry.ts';
import type { BuildRequest, Builder } from '../builder.ts';
import { createDelegateBuilder } from './delegate-builder.ts';
import { leftovers, pushBase } from '../../testing/buildah.ts';
import { delegateDeps, folderOf, requestOf, testToken, type Heard } from '../../testing/builder.ts';

const run = promisify(execFile);
const patient = (): AbortSignal => AbortSignal.timeout(120_000);

interface Ground {
  readonly registry: TestRegistry;
  readonly server: OpenBuilder;
  readonly builder: Builder;
  readonly url: string;
  readonly dataFolder: string;
  /** Builds a folder of these files. */
  build(
    files: Readonly<Record<string, string>>,
    more?: Partial<BuildRequest>,
    signal?: AbortSignal,
  ): Promise<Heard & { readonly digest: string }>;
}

async function setUp(
  t: TestContext,
  options: Partial<BuilderOptions> = {},
  registryOptions: TestRegistryOptions = {},
): Promise<Ground> {
  const registry = await startRegistry(t, registryOptions);
  const dataFolder = await mkdtemp(join(tmpdir(), 'holdfast-builder-'));
  const killed = new AbortController();
  const server = await openBuilder(
    {
      host: '127.0.0.1',
      port: 0,
      token: testToken,
      tls: undefined,
      tool: 'buildah',
      dataFolder,
      authFile: undefined,
      certificates: undefined,
      insecure: registryOptions.tls === undefined ? [registry.host] : [],
      isolation: 'chroot',
      destinations: [],
      maxConcurrent: 1,
      maxQueue: 1,
      maxContextBytes: 64 * 1024 ** 2,
      maxTreeBytes: 128 * 1024 ** 2,
      maxFiles: 1_000,
      timeoutMs: 120_000,
      minFreeBytes: 0,
      ...options,
    },
    { env: process.env, isRoot: process.getuid?.() === 0, killed: killed.signal, clock: systemClock, log: silentLog },
  );
  const url = `http://127.0.0.1:${String(server.port)}`;
  const builder = createDelegateBuilder(delegateDeps(url));
  t.after(async () => {
    await builder.close();
    await server.close();
    assert.deepEqual(await leftovers(dataFolder), [], 'nothing is left of builds');
    await rm(dataFolder, { recursive: true, force: true });
  });
  return {
    registry,
    server,
    builder,
    url,
    dataFolder,
    async build(files, more = {}, signal = patient()) {
      const heard: Heard = { phases: [], lines: [] };
      const folder = await folderOf(t, files);
      const request = requestOf(folder, `${registry.host}/team/app:${more.tag ?? 'tag1'}`, more);
      const digest = await builder.build(request, {
        signal,
        onPhase: (message) => heard.phases.push(message),
        onLine: (line) => heard.lines.push(line),
      });
      return { ...heard, digest };
    },
  };
}

test('a context is built and pushed; the digest is the one of the registry', async (t) => {
  const ground = await setUp(t);
  const base = await pushBase(t, ground.registry);
  const built = await ground.build(
    { Dockerfile: `FROM ${base}\nARG GREETING\nCOPY a /a\nRUN echo "$GREETING world" && cat /a /b`, a: 'from a\n' },
    {
      args: { GREETING: 'hello' },
      dockerfile: 'other/Dockerfile',
      extraFiles: {
        'other/Dockerfile': `FROM ${base}\nARG GREETING\nCOPY a b* /\nRUN echo "$GREETING world"; cat /a /b`,
        b: 'from b\n',
      },
    },
  );
  for (const line of ['hello world', 'from a', 'from b']) assert.ok(built.lines.includes(line), line);
  assert.match(built.phases.join('; '), /sending the context to the builder .*; building on .*; pushing /);
  const registry = createRegistry({ own: { host: ground.registry.host, insecure: true } });
  t.after(() => registry.close());
  const image = `${ground.registry.host}/team/app`;
  assert.equal(await registry.exists(`${image}:tag1`, patient()), built.digest);
  assert.deepEqual(await registry.tags(image, patient()), ['tag1']);
  await registry.deleteManifest(image, built.digest, patient());
  assert.equal(await registry.exists(`${image}:tag1`, patient()), undefined);
});

test('secret arguments reach the build, and neither its output nor its image', async (t) => {
  const ground = await setUp(t);
  const base = await pushBase(t, ground.registry);
  const secret = 'very-secret-value';
  const built = await ground.build(
    { Dockerfile: `FROM ${base}\nARG PASSWORD\nRUN test "$PASSWORD" = ${secret} && echo "it is $PASSWORD"` },
    { secretArgs: { PASSWORD: secret } },
  );
  assert.ok(built.lines.includes('it is ***'));
  assert.ok(!built.lines.join('\n').includes(secret), 'the Dockerfile names it itself; the output must not');
  const where = `http://${ground.registry.host}/v2/team/app`;
  const manifest = (await (
    await fetch(`${where}/manifests/tag1`, {
      headers: { accept: 'application/vnd.docker.distribution.manifest.v2+json' },
    })
  ).json()) as { readonly config: { readonly digest: string } };
  const config = await (await fetch(`${where}/blobs/${manifest.config.digest}`)).text();
  assert.match(config, /holdfast\.dev\/app/);
  assert.ok(!config.includes(secret));
});

test('each failure has its code, and names the step', async (t) => {
  const ground = await setUp(t);
  const { host } = ground.registry;
  const base = await pushBase(t, ground.registry);
  const cases: [dockerfile: string, expected: { readonly code: string; readonly message: RegExp }][] = [
    [
      `FROM ${base}\nRUN echo before; exit 7`,
      { code: 'build_failed', message: /^step RUN echo before; exit 7 failed: exit code 7$/ },
    ],
    [`FROM ${base}\nCOPY missing /`, { code: 'build_failed', message: /COPY missing \// }],
    [
      `FROM ${host}/team/nothing:1\nRUN true`,
      { code: 'base_image_not_found', message: /team\/nothing:1 is not there/ },
    ],
    [`FROM ${base}\nRUNN true`, { code: 'dockerfile_invalid', message: /RUNN/ }],
    [`FROM ${base}\nRUN kill -9 $$`, { code: 'build_out_of_memory', message: /killed/ }],
    ['', { code: 'dockerfile_invalid', message: /no contents/ }],
  ];
  for (const [dockerfile, expected] of cases) {
    await assert.rejects(ground.build({ Dockerfile: dockerfile }), { ...expected, phase: 'build' }, dockerfile);
  }
  await assert.rejects(ground.build({ a: '' }), {
    code: 'dockerfile_invalid',
    message: 'the context has no Dockerfile',
  });
  await assert.rejects(ground.build({ Dockerfile: `FROM ${base}` }, { target: 'nope' }), {
    code: 'dockerfile_invalid',
    message: /nope/,
  });
  await assert.rejects(
    ground.build({ Dockerfile: `FROM ${base}\nRUN exit 7` }),
    (error: { data: { logs: string[] } }) => error.data.logs.some((line) => /^STEP 2\/\d: RUN exit 7$/.test(line)),
  );
});

test('a client that leaves ends its build: no process, mount or folder is left', async (t) => {
  const ground = await setUp(t);
  const base = await pushBase(t, ground.registry);
  const leave = new AbortController();
  const folder = await folderOf(t, { Dockerfile: `FROM ${base}\nRUN (sleep 3001 &) ; echo begun; sleep 3002` });
  const begun = Promise.withResolvers<void>();
  const left = ground.builder.build(requestOf(folder, `${ground.registry.host}/team/app:tag1`), {
    signal: leave.signal,
    onPhase: () => undefined,
    onLine: (line) => void (line === 'begun' && begun.resolve()),
  });
  await begun.promise;
  assert.notDeepEqual(await leftovers(ground.dataFolder), []);
  const reason = new Error('nobody wants it any more');
  leave.abort(reason);
  await assert.rejects(left, reason);
  await eventually(20_000, async () => assert.deepEqual(await leftovers(ground.dataFolder), []));
  await eventually(5_000, async () => {
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
      assert.ok(!/^sleep 300[12] $/.test(command.replaceAll('\0', ' ')), 'what RUN left in the background is gone too');
    }
  });
  const again = await ground.build({ Dockerfile: `FROM ${base}\nRUN echo again` });
  assert.ok(again.lines.includes('again'), 'the builder goes on');
});

test('builds wait for their turn, are told their place, and are refused where the queue is full', async (t) => {
  const ground = await setUp(t);
  const base = await pushBase(t, ground.registry);
  const leave = new AbortController();
  const began = Promise.withResolvers<void>();
  const slow = await folderOf(t, { Dockerfile: `FROM ${base}\nRUN echo begun; sleep 3003` });
  const first = ground.builder.build(requestOf(slow, `${ground.registry.host}/team/app:slow`, { tag: 'slow' }), {
    signal: leave.signal,
    onPhase: () => undefined,
    onLine: (line) => void (line === 'begun' && began.resolve()),
  });
  await began.promise;
  const queued = Promise.withResolvers<void>();
  const quick = await folderOf(t, { Dockerfile: `FROM ${base}\nRUN echo quick` });
  const second = ground.builder.build(requestOf(quick, `${ground.registry.host}/team/app:quick`, { tag: 'quick' }), {
    signal: patient(),
    onPhase: (message) => void (/number 1 in its queue/.test(message) && queued.resolve()),
    onLine: () => undefined,
  });
  await queued.promise;
  await assert.rejects(ground.build({ Dockerfile: `FROM ${base}` }), {
    code: 'builder_unavailable',
    message: /answered 503: 2 builds run or wait here already/,
    retryAfterMs: 15_000,
  });
  leave.abort(new Error('left'));
  await assert.rejects(first, /left/);
  assert.match(await second, /^sha256:/);
});

test('a build has a bounded time, and cancel ends it', async (t) => {
  const ground = await setUp(t, { timeoutMs: 4_000 });
  const base = await pushBase(t, ground.registry);
  await assert.rejects(ground.build({ Dockerfile: `FROM ${base}\nRUN sleep 3004` }), {
    code: 'build_timeout',
    message: /within 4 s/,
  });
  const cancelled = ground.build({ Dockerfile: `FROM ${base}\nRUN sleep 3005` });
  await eventually(10_000, async () => assert.notDeepEqual(await leftovers(ground.dataFolder), []));
  await ground.builder.cancel('tag1');
  await assert.rejects(cancelled, { code: 'cancelled' });
  await ground.builder.cancel('of nothing');
});

test('a private registry with TLS by an own authority: right credentials push, wrong ones are told so', async (t) => {
  const folder = await folderOf(t, {});
  const { ca, cert, key } = await certificates(join(folder, 'tls'), '127.0.0.1');
  await mkdir(join(folder, 'certs'));
  await writeFile(join(folder, 'certs', 'ca.crt'), ca);
  const authFile = join(folder, 'config.json');
  const { stdout: htpasswd } = await run('htpasswd', ['-Bbn', 'me', 'right']);
  const settings = { authFile, certificates: join(folder, 'certs') };
  const ground = await setUp(t, settings, { htpasswd, tls: { cert, key } });
  const { host } = ground.registry;
  const login = async (password: string): Promise<void> => {
    const auth = Buffer.from(`me:${password}`).toString('base64');
    await writeFile(authFile, JSON.stringify({ auths: { [host]: { auth } } }));
  };
  const files = { Dockerfile: 'FROM scratch\nCOPY a /a', a: 'a' };
  await login('wrong');
  await assert.rejects(ground.build(files), { code: 'push_denied', message: /refused the push/ });
  await login('right');
  const { digest } = await ground.build(files);
  const registry = createRegistry({ own: { host, insecure: false, ca, username: 'me', password: 'right' } });
  t.after(() => registry.close());
  assert.equal(await registry.digest(`${host}/team/app:tag1`, patient()), digest);
  await ground.registry.stop();
  await assert.rejects(ground.build({ ...files, a: 'other' }, { tag: 'tag2' }), { code: 'registry_unavailable' });
});

test('what the server does not allow is refused before anything is built', async (t) => {
  const ground = await setUp(t, { destinations: ['registry.example/team'], maxContextBytes: 2_000 });
  const stranger = createDelegateBuilder(delegateDeps(ground.url, 'not-the-token-0123456789'));
  const folder = await folderOf(t, { Dockerfile: 'FROM scratch' });
  const options = { signal: patient(), onPhase: () => undefined, onLine: () => undefined };
  await assert.rejects(stranger.build(requestOf(folder, 'registry.example/team/app:1'), options), {
    code: 'config_invalid',
    message: /answered 401.*builder_auth_token/,
  });
  const build = (image: string, more: Partial<BuildRequest> = {}): Promise<string> =>
    ground.builder.build(requestOf(folder, image, more), options);
  await assert.rejects(build('registry.example/teamwork/app:1'), { code: 'push_denied', message: /allow-destination/ });
  await assert.rejects(build('registry.example/team/app:1', { secretArgs: { LD_PRELOAD: 'x' } }), {
    code: 'config_invalid',
    message: /LD_PRELOAD/,
  });
  await assert.rejects(build('registry.example/team/app:1', { dockerfile: '../../etc/passwd' }), {
    code: 'config_invalid',
  });
  const random = Array.from({ length: 2_000 }, (_, index) => (index * 7_919) % 9_973).join();
  await assert.rejects(build('registry.example/team/app:1', { extraFiles: { random } }), {
    code: 'source_invalid',
    message: /answered 413/,
  });
  await ground.server.drain(patient());
  assert.equal((await fetch(`${ground.url}/readyz`)).status, 503);
  assert.equal((await fetch(`${ground.url}/livez`)).status, 200);
  await assert.rejects(build('registry.example/team/app:1'), { code: 'builder_unavailable', message: /stops/ });
  assert.equal((await fetch(`${ground.url}/nothing`)).status, 404);
});
