import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { AppError } from '../../shared/errors.ts';
import { sendProblem } from '../../shared/problem.ts';
import { appSpec, type AppSpecInput } from '../../shared/protocol/app-spec.ts';
import { runCli } from '../run.ts';

const partBytes = 1_000;
const digest = 'd'.repeat(64);

interface FakeAgent {
  /** Parts that arrived, by number. */
  readonly parts: Map<number, Buffer>;
  readonly puts: { readonly part: number; readonly token: string | undefined }[];
  readonly calls: { readonly method: string; readonly params: Record<string, unknown> }[];
  /** Called for each part; may answer in its place. */
  onPut: (part: number, request: IncomingMessage, response: ServerResponse) => boolean;
  /** Called when a part is there. */
  onStored: () => void;
  onComplete: () => void;
  app: Record<string, unknown> | undefined;
  run: (line: string, options?: { readonly interrupted?: AbortSignal; readonly isTTY?: boolean }) => Promise<Ran>;
}

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** An agent that takes parts over real HTTP; its RPC answers are given here. */
async function createFakeAgent(t: TestContext): Promise<FakeAgent> {
  const server = createServer((request, response) => {
    const part = Number(/\/sources\/[0-9a-f]{64}\/(\d+)$/.exec(request.url ?? '')?.[1]);
    agent.puts.push({ part, token: request.headers.authorization });
    if (agent.onPut(part, request, response)) return;
    buffer(request).then(
      (body) => {
        agent.parts.set(part, body);
        agent.onStored();
        response.writeHead(204).end();
      },
      () => response.destroy(),
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  let begun = { archive: '', bytes: 0 };

  function answer(method: string, params: Record<string, unknown>): unknown {
    switch (method) {
      case 'apps.get':
        if (agent.app === undefined) throw new AppError('app_not_found', 'there is no app');
        return agent.app;
      case 'sources.begin': {
        begun = params as typeof begun;
        const count = Math.ceil(begun.bytes / partBytes);
        const missing = Array.from({ length: count }, (_, part) => part).filter((part) => !agent.parts.has(part));
        return { partBytes, missing, source: null };
      }
      case 'sources.complete': {
        agent.onComplete();
        const archive = Buffer.concat([...agent.parts].toSorted(([a], [b]) => a - b).map(([, part]) => part));
        assert.equal(archive.length, begun.bytes);
        assert.equal(createHash('sha256').update(archive).digest('hex'), params['archive']);
        return { source: `upload:sha256:${digest}`, files: 1, bytes: 1 };
      }
      case 'apps.apply': {
        const [spec] = params['apps'] as AppSpecInput[];
        appSpec.parse(spec);
        const changes = [
          { app: spec?.name, action: agent.app === undefined ? 'create' : 'update', version: 2, fields: [] },
        ];
        return { dryRun: false, changes, routers: { acknowledged: 1, expired: 0 } };
      }
      default:
        return { app: 'shop', version: 2, targets: 1, timings: { buildMs: 1_500, rolloutMs: 500 } };
    }
  }

  const agent: FakeAgent = {
    parts: new Map(),
    puts: [],
    calls: [],
    onPut: () => false,
    onStored: () => undefined,
    onComplete: () => undefined,
    app: undefined,
    async run(line, { interrupted = new AbortController().signal, isTTY = false } = {}) {
      let out = '';
      let err = '';
      const code = await runCli(line.split(' '), {
        env: { HOLDFAST_AGENT: url, HOLDFAST_TOKEN: 'token' },
        cwd: '/',
        stdout: { write: (text) => (out += text) },
        stderr: { write: (text) => (err += text), isTTY },
        interrupted,
        killed: new AbortController().signal,
        ask: async () => undefined,
        connect: () => ({
          async call(method, params, { onItem }) {
            agent.calls.push({ method, params });
            if (method === 'versions.ensure')
              onItem?.({ app: 'shop', version: 2, phase: 'build', message: 'npm ci' } as never);
            return answer(method, params) as never;
          },
        }),
      });
      return { code, out, err };
    },
  };
  return agent;
}

async function folderOf(t: TestContext, files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-deploy-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), content);
  }
  return folder;
}

/** Text that does not shrink much, so that there are several parts. */
const noise = Array.from({ length: 200 }, (_, index) => createHash('sha256').update(String(index)).digest('hex')).join(
  '',
);
const plainApp = { 'server.js': '', noise };

const applied = (agent: FakeAgent): AppSpecInput | undefined =>
  (agent.calls.find(({ method }) => method === 'apps.apply')?.params['apps'] as AppSpecInput[] | undefined)?.[0];

void test('a folder is packed, sent in parts and declared as a new app', async (t) => {
  const agent = await createFakeAgent(t);
  const folder = await folderOf(t, plainApp);
  const { code, out, err } = await agent.run(`deploy ${folder} --app shop --path /shop --env A=1 --env B=x=y`);
  assert.equal(code, 0, err);
  assert.match(out, /^shop: created, version 2\nroute: \/shop\nThe next call builds/);
  assert.match(err, /^Packed 2 files, 12\.8 kB/m);
  assert.ok(agent.puts.length > 3);
  assert.ok(agent.puts.every(({ token }) => token === 'Bearer token'));
  assert.deepEqual(applied(agent), {
    name: 'shop',
    path: '/shop',
    source: `upload:sha256:${digest}`,
    build: { dockerfile: 'Dockerfile' },
    env: { A: '1', B: 'x=y' },
  });
});

void test('only what the agent does not have is sent, and the same folder is the same archive', async (t) => {
  const agent = await createFakeAgent(t);
  const files = { 'server.js': '', noise };
  assert.equal((await agent.run(`deploy ${await folderOf(t, files)} --app shop --path /shop`)).code, 0);
  const all = agent.puts.splice(0).length;
  agent.parts.delete(1);
  assert.equal((await agent.run(`deploy ${await folderOf(t, files)} --app shop --path /shop`)).code, 0);
  assert.deepEqual(
    agent.puts.map(({ part }) => part),
    [1],
  );
  assert.ok(all > 1);
});

void test('a part that fails is sent again; one that never arrives is told with what to do, and the next run goes on', async (t) => {
  const agent = await createFakeAgent(t);
  const folder = await folderOf(t, plainApp);
  let failures = 0;
  agent.onPut = (part, _request, response) => {
    if (part !== 2 || ++failures > 2) return false;
    if (failures === 1) response.destroy();
    else sendProblem(response, new AppError('store_unavailable', 'no database'));
    return true;
  };
  const retried = await agent.run(`deploy ${folder} --app shop --path /shop`);
  assert.equal(retried.code, 0);
  assert.equal(retried.err.match(/^Trying again: /gm)?.length, 2);

  agent.parts.clear();
  let refuse: (() => void) | undefined;
  agent.onPut = (part, _request, response) => {
    if (part !== 2) return false;
    refuse = () => sendProblem(response, new AppError('upload_incomplete', 'not begun'));
    if (agent.parts.size >= 2) refuse();
    return true;
  };
  agent.onStored = () => {
    if (agent.parts.size === 2) refuse?.();
  };
  const cut = await agent.run(`deploy ${folder} --app shop --path /shop`);
  assert.equal(cut.code, 1);
  assert.match(cut.err, /upload_incomplete: the upload stopped at \d+ % \(not begun\); run the same command again/);
  const before = agent.parts.size;
  assert.ok(before >= 2);
  agent.onPut = () => false;
  agent.onStored = () => undefined;
  agent.puts.length = 0;
  assert.equal((await agent.run(`deploy ${folder} --app shop --path /shop`)).code, 0);
  assert.equal(agent.puts.length, agent.parts.size - before);
});

void test('parts that are gone when the upload is completed are sent again', async (t) => {
  const agent = await createFakeAgent(t);
  let completions = 0;
  agent.onComplete = () => {
    completions += 1;
    if (completions > 1) return;
    agent.parts.delete(0);
    throw new AppError('upload_incomplete', 'part 0 is missing');
  };
  assert.equal((await agent.run(`deploy ${await folderOf(t, plainApp)} --app shop --path /shop`)).code, 0);
  assert.equal(completions, 2);
});

void test('a token without the scope ends it at once, and so does Ctrl-C', async (t) => {
  const agent = await createFakeAgent(t);
  const folder = await folderOf(t, plainApp);
  agent.onPut = (_part, _request, response) => {
    sendProblem(response, new AppError('forbidden', 'no scope'));
    return true;
  };
  const denied = await agent.run(`deploy ${folder} --app shop --path /shop`);
  assert.deepEqual([denied.code, denied.err.includes('Trying again')], [4, false]);
  const stop = new AbortController();
  agent.onPut = () => {
    stop.abort();
    return true;
  };
  assert.equal((await agent.run(`deploy ${folder} --app shop --path /shop`, { interrupted: stop.signal })).code, 130);
});

const declared = appSpec.parse({
  name: 'shop',
  path: '/shop',
  source: 'https://git.example/shop.git',
  ref: 'main',
  dir: 'web',
  git_auth: 'team',
  auto_sync: true,
  port: 3000,
  env: { A: '1', B: '2' },
  secrets: { KEY: '***' },
  build: { args: { MODE: 'x' }, preset: 'python' },
  config: { strip_path: false },
});
const view = { name: 'shop', path: '/shop', liveVersion: 1, pendingVersion: null, spec: declared };

void test('what an app declares besides stays, masked secrets too; what belonged to its former source goes, and is told', async (t) => {
  const agent = await createFakeAgent(t);
  agent.app = view;
  const ran = await agent.run(
    `deploy ${await folderOf(t, { Dockerfile: 'FROM x', ...plainApp })} --app shop --env B=3 --dockerfile Dockerfile`,
  );
  assert.equal(ran.code, 0, ran.err);
  assert.match(ran.err, /shop ran https:\/\/git\.example\/shop\.git main until now; from now on it runs this folder\./);
  const { ref, dir, git_auth, ...rest } = { ...declared };
  assert.ok(ref !== undefined && dir !== undefined && git_auth !== undefined);
  assert.deepEqual(applied(agent), {
    ...rest,
    source: `upload:sha256:${digest}`,
    auto_sync: false,
    env: { A: '1', B: '3' },
    build: { dockerfile: 'Dockerfile', args: { MODE: 'x' } },
  });
});

void test('what nothing could be built of, or has no route, is refused before anything is sent', async (t) => {
  const agent = await createFakeAgent(t);
  const cases: [string, number, RegExp][] = [
    [`deploy ${await folderOf(t, plainApp)} --app shop`, 2, /--path \/shop/],
    [
      `deploy ${await folderOf(t, { 'README.md': '' })} --app shop --path /shop`,
      1,
      /dockerfile_invalid.*no preset fits/,
    ],
    [`deploy ${await folderOf(t, plainApp)} --app shop --path /shop --preset go`, 1, /go mod init/],
    [
      `deploy ${await folderOf(t, plainApp)} --app shop --path /shop --dockerfile build/Dockerfile`,
      2,
      /has no build\/Dockerfile/,
    ],
    ['deploy /no-such-folder --app shop', 2, /is not a folder/],
    [`deploy ${await folderOf(t, plainApp)} --app shop --path /shop --env A`, 2, /KEY=VALUE/],
  ];
  for (const [line, code, message] of cases) {
    const ran = await agent.run(line);
    assert.equal(ran.code, code, line);
    assert.match(ran.err, message);
  }
  assert.deepEqual(
    agent.calls.filter(({ method }) => method !== 'apps.get'),
    [],
  );
  agent.app = { ...view, spec: { ...declared, build: appSpec.shape.build.parse({}), command: ['./run'] } };
  assert.equal(
    (await agent.run(`deploy ${await folderOf(t, { run: '' })} --app shop`)).code,
    0,
    'the app says itself what runs',
  );
});

void test("what the preset's .dockerignore names stays here, unless the folder has its own", async (t) => {
  const agent = await createFakeAgent(t);
  const names = (): string =>
    gunzipSync(Buffer.concat([...agent.parts].toSorted(([a], [b]) => a - b).map(([, part]) => part))).toString(
      'latin1',
    );
  const files = { 'server.js': '', 'node_modules/a/x.js': '', '.env': 'KEY=1', 'a.log': '' };
  await agent.run(`deploy ${await folderOf(t, files)} --app shop --path /shop`);
  assert.match(names(), /server\.js/);
  assert.doesNotMatch(names(), /node_modules|\.env/);
  agent.parts.clear();
  await agent.run(`deploy ${await folderOf(t, { ...files, '.dockerignore': '*.log\n' })} --app shop --path /shop`);
  assert.match(names(), /node_modules/);
  assert.doesNotMatch(names(), /a\.log/);
});

void test('--wait follows the start; -o json gives it all; a terminal sees how far it is', async (t) => {
  const agent = await createFakeAgent(t);
  const folder = await folderOf(t, plainApp);
  const waited = await agent.run(`deploy ${folder} --app shop --path /shop --wait`, { isTTY: true });
  assert.match(waited.err, /\rSent 0\.0 MiB of 0\.0 MiB \(100 %\)\s*\n/);
  assert.match(waited.err, /version 2: build: npm ci/);
  assert.match(waited.out, /version 2 is ready \(build 1\.50 s, rollout 0\.50 s\)\n$/);
  const asJson = JSON.parse((await agent.run(`deploy ${folder} --app shop --path /shop --wait -o json`)).out) as Record<
    string,
    unknown
  >;
  assert.deepEqual(Object.keys(asJson), ['source', 'sentBytes', 'files', 'bytes', 'changes', 'routers', 'ensured']);
  assert.equal(asJson['sentBytes'], 0);
});
