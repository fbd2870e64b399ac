import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AppError } from '../shared/errors.ts';
import type { AgentEndpoint } from './endpoint.ts';
import { stateFolder } from './state-folder.ts';
import { runCli } from './run.ts';

interface FakeAgent {
  /** Answers by method; a function may throw, and may send items first. */
  readonly answers: Record<string, unknown>;
  readonly items?: readonly unknown[];
}

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  readonly calls: { readonly method: string; readonly params: unknown; readonly deadlineMs: number }[];
  readonly endpoints: AgentEndpoint[];
}

interface RunOptions {
  readonly env?: Record<string, string>;
  readonly cwd?: string;
  readonly answer?: string;
  readonly interrupted?: AbortSignal;
  readonly isTTY?: boolean;
}

const testEnv = { HOLDFAST_AGENT: 'http://agent.example:7400', HOLDFAST_TOKEN: 'token' };

async function run(line: string, agent: FakeAgent = { answers: {} }, options: RunOptions = {}): Promise<Ran> {
  const calls: { method: string; params: unknown; deadlineMs: number }[] = [];
  const endpoints: AgentEndpoint[] = [];
  let out = '';
  let err = '';
  const code = await runCli(line.split(' '), {
    env: options.env ?? testEnv,
    cwd: options.cwd ?? '/',
    stdout: { write: (text) => (out += text), isTTY: options.isTTY },
    stderr: { write: (text) => (err += text) },
    interrupted: options.interrupted ?? new AbortController().signal,
    killed: new AbortController().signal,
    ask: async () => options.answer,
    connect: (endpoint) => {
      endpoints.push(endpoint);
      return {
        async call(method, params, { deadlineMs, onItem }) {
          calls.push({ method, params, deadlineMs });
          for (const item of agent.items ?? []) onItem?.(item as never);
          const answer = agent.answers[method];
          if (answer instanceof Error) throw answer;
          return answer as never;
        },
      };
    },
  });
  return { code, out, err, calls, endpoints };
}

async function folder(t: TestContext): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'holdfast-cli-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}

const app = {
  name: 'hello',
  path: '/hello',
  state: 'ready',
  liveVersion: 1,
  pendingVersion: 2,
  spec: {
    name: 'hello',
    path: '/hello',
    source: '/apps/hello',
    port: 8080,
    env: { A: '1' },
    secrets: { KEY: '***' },
    min_replicas: 0,
    volumes: [],
    config: {},
  },
  targets: 1,
  keptAwake: null,
  failure: null,
  failedVersion: null,
  createdAt: '2026-01-01T00:00:00Z',
  updatedAt: '2026-01-01T00:00:00Z',
};

const failure = {
  code: 'app_crashed',
  phase: 'start',
  owner: 'app',
  message: 'exit code 1',
  logs: ['first', 'boom \u001b[31mred'],
  at: '2026-01-01T00:00:01Z',
};

test('apps are a table, and with -o json just what the agent said', async () => {
  const answers = { 'apps.list': { apps: [app] } };
  const asTable = await run('apps', { answers });
  assert.equal(asTable.code, 0);
  assert.equal(
    asTable.out,
    'NAME   STATE  VERSION        TARGETS  PATH    PROBLEM\nhello  ready  1 (2 pending)  1        /hello\n',
  );
  const asJson = await run('apps -o json', { answers });
  assert.deepEqual(JSON.parse(asJson.out), { apps: [app] });
  assert.equal(asJson.err, '');
});

test('a failure is named with its version, in the table and for one app', async () => {
  const bad = { ...app, pendingVersion: null, failure, failedVersion: 3 };
  assert.match((await run('apps', { answers: { 'apps.list': { apps: [bad] } } })).out, /version 3: app_crashed\n$/);
  const { out } = await run('app hello', { answers: { 'apps.get': bad } });
  assert.match(out, /problem +version 3: app_crashed, 2026-01-01T00:00:01Z\n {2}failed in start: app_crashed/);
});

test('one app shows what its spec sets and leaves out what it does not', async () => {
  const spec = {
    ...app.spec,
    health_url: '/healthz',
    command: ['node', 'a b.js'],
    memory: '256Mi',
    min_replicas: 1,
    volumes: [{ name: 'data', path: '/data', size: '1Gi' }],
    config: { strip_path: false, hold: { timeout_secs: 60 } },
  };
  const { out } = await run('app hello', { answers: { 'apps.get': { ...app, spec } } });
  assert.match(out, /health_url +\/healthz\ncommand +\["node","a b.js"\]\nmemory +256Mi\nreplicas +1 to 1\n/);
  assert.match(out, /volumes +data at \/data 1Gi\nconfig +strip_path = false, hold\.timeout_secs = 60\n/);
  assert.doesNotMatch((await run('app hello', { answers: { 'apps.get': app } })).out, /cpus|config|volumes|replicas/);
});

test('every call has a deadline, and --timeout sets it', async () => {
  const answers = { 'apps.list': { apps: [] } };
  assert.equal((await run('apps', { answers })).calls[0]?.deadlineMs, 30_000);
  assert.equal((await run('apps --timeout 1.5', { answers })).calls[0]?.deadlineMs, 1_500);
});

test('versions show the cause and the last log lines of a failure, without control characters', async () => {
  const version = {
    app: 'hello',
    version: 2,
    live: false,
    state: 'failed',
    image: null,
    imageDigest: null,
    source: '/apps/hello',
    sourceDigest: 'sha256:0123456789abcdef',
    timings: null,
    failure,
    createdAt: '2026-01-01T00:00:00Z',
    createdBy: 'cli',
  };
  const { out } = await run('versions hello', { answers: { 'versions.list': { versions: [version] } } });
  assert.match(out, /2 +failed +\/apps\/hello \(0123456789ab\)/);
  assert.match(
    out,
    /version 2, 2026-01-01T00:00:01Z\n {2}failed in start: app_crashed: exit code 1\n {4}\| first\n {4}\| boom  ?\[31mred/,
  );
});

test('apply sends the apps of the file and tells what changed', async (t) => {
  const file = join(await folder(t), 'apps.toml');
  await writeFile(file, '[[app]]\nname = "hello"\npath = "/hello"\nimage = "hello:2"\n');
  const result = {
    dryRun: false,
    changes: [
      { app: 'hello', action: 'update', version: 2, fields: [{ key: 'image', from: 'hello:1', to: 'hello:2' }] },
    ],
    routers: { acknowledged: 1, expired: 1 },
  };
  const versions = [{ version: 2, imageDigest: null }];
  const ran = await run(`apply -f ${file}`, { answers: { 'apps.apply': result, 'versions.list': { versions } } });
  assert.equal(ran.code, 0);
  assert.match(ran.err, /^hello: the image hello:2 was not found in its registry/);
  assert.match(
    ran.out,
    /^hello: updated, version 2\n {2}image: "hello:1" → "hello:2"\n1 router\(s\) did not acknowledge/,
  );
  const sent = ran.calls[0]?.params as { readonly apps: readonly { readonly name: string }[] } | undefined;
  assert.deepEqual(
    sent?.apps.map((one) => one.name),
    ['hello'],
  );
});

test('a wrong app file is exit code 2 with key and line, and nothing is sent', async (t) => {
  const file = join(await folder(t), 'apps.toml');
  await writeFile(file, '[[app]]\nname = "hello"\npath = "hello/../x"\nimage = "hello:2"\n');
  const ran = await run(`apply -f ${file}`);
  assert.equal(ran.code, 2);
  assert.match(ran.err, /apps\.toml:3:1: app\[0\]\.path: must be/);
  assert.deepEqual(ran.calls, []);
});

test('a route that another app has is told with its line in the file', async (t) => {
  const file = join(await folder(t), 'apps.toml');
  await writeFile(file, '[[app]]\nname = "hello"\npath = "/hello"\nimage = "hello:2"\n');
  const conflict = new AppError('route_conflict', 'taken', { data: { app: 'hello', key: 'path', holder: 'other' } });
  const ran = await run(`apply -f ${file}`, { answers: { 'apps.apply': conflict } });
  assert.equal(ran.code, 2);
  assert.match(ran.err, /^holdfast: route_conflict: .*apps\.toml:3:1: taken\n/);
});

test('delete asks, and without anyone to ask wants --yes', async () => {
  const answers = { 'apps.delete': { app: 'hello', removed: ['Process/1'] } };
  assert.equal((await run('delete hello', { answers }, {})).code, 2);
  assert.deepEqual((await run('delete hello', { answers }, { answer: 'n' })).calls, []);
  const ran = await run('delete hello --volumes --yes', { answers });
  assert.deepEqual(ran.calls[0]?.params, { app: 'hello', volumes: true });
  assert.equal(ran.out, 'hello: deleted\n  Process/1\n');
});

test('logs come as they are streamed, as JSON lines on demand', async () => {
  const items = [{ instance: 'hello-1', version: 2, line: 'listening' }];
  assert.equal(
    (await run('logs hello -f --tail 5', { answers: { 'logs.follow': {}, 'apps.get': app }, items })).out,
    'v2 hello-1 | listening\n',
  );
  assert.equal(
    (await run('logs hello -o json', { answers: { 'logs.follow': {}, 'apps.get': app }, items })).out,
    `${JSON.stringify(items[0])}\n`,
  );
});

test('the audit is asked for by options, with a time or how long ago', async () => {
  const answers = { 'audit.list': { entries: [] } };
  const asked = async (words: string): Promise<unknown> => (await run(`audit ${words}`, { answers })).calls[0]?.params;
  assert.deepEqual(await asked('--app shop --by ci --failed --since 2026-12-01 --limit 5'), {
    app: 'shop',
    actor: 'ci',
    method: undefined,
    failed: true,
    since: '2026-12-01T00:00:00.000Z',
    limit: 5,
  });
  const { since } = (await asked('--since 24h')) as { since: string };
  const agoMs = Date.now() - Date.parse(since);
  assert.ok(agoMs >= 86_400_000 && agoMs < 86_460_000, since);
  assert.equal((await run('audit --since soon', { answers })).code, 2);
});

test('a new token is printed alone on standard output, and its hash with the lines for the configuration', async () => {
  const { out, err, code } = await run('tokens new ci --scope read --expires 2027-01-01', { answers: {} });
  assert.equal(code, 0);
  const digest = createHash('sha256').update(out.trim()).digest('hex');
  assert.ok(err.includes(`value_sha256 = ["${digest}"]\nexpires = "2027-01-01T00:00:00.000Z"`), err);
  assert.ok(!err.includes(out.trim()));
});

test('lines of an app do not command the terminal, and reach a pipe as they are', async () => {
  const line = '\u001b]0;owned\u0007a\u001b[2Jb\rc\u009b31md';
  const items = [{ instance: 'hello-1', version: 2, line }];
  const agent = { answers: { 'logs.follow': {}, 'apps.get': app }, items };
  assert.equal((await run('logs hello', agent, { isTTY: true })).out, 'v2 hello-1 | ab cd\n');
  assert.equal((await run('logs hello', agent)).out, `v2 hello-1 | ${line}\n`);
});

test('logs of an app that does not run say so on standard error, and of no such version are exit code 3', async () => {
  const answers = {
    'logs.follow': {},
    'apps.get': { ...app, state: 'asleep', targets: 0 },
    'versions.list': { versions: [{ version: 1 }] },
  };
  const asleep = await run('logs hello --version 1', { answers });
  assert.equal(asleep.code, 0);
  assert.equal(asleep.out, '');
  assert.match(asleep.err, /^hello is asleep, so no instance is running/);
  const none = await run('logs hello --version 7', { answers });
  assert.equal(none.code, 3);
  assert.match(none.err, /version_not_found: app hello has no version 7/);
});

test('events of an app that never was are exit code 3, of one without events an empty table', async () => {
  const events = { 'events.list': { events: [] } };
  const nope = await run('events nope', { answers: { ...events, 'apps.get': new AppError('app_not_found', 'no') } });
  assert.equal(nope.code, 3);
  assert.equal(nope.out, '');
  assert.equal((await run('events hello', { answers: { ...events, 'apps.get': app } })).code, 0);
  assert.equal((await run('events', { answers: events })).code, 0);
});

test('with -o json a wrong command line is told as JSON too, and as nothing else', async () => {
  for (const line of ['-o json app', 'apps --nonsense -o json', '--output=json', 'delete hello -ojson']) {
    const { code, out, err } = await run(line, { answers: {} });
    assert.equal(code, 2, line);
    assert.equal(out, '');
    assert.equal(JSON.parse(err).error.code, 'usage', line);
  }
});

test('limits beyond what the agent gives are refused before it is asked', async () => {
  for (const line of ['events --limit 1001', 'versions hello --limit 0', 'logs hello --tail 10001']) {
    const { code, calls } = await run(line);
    assert.deepEqual([code, calls], [2, []], line);
  }
});

test('ensure tells each phase on standard error and the result on standard output', async () => {
  const items = [{ app: 'hello', version: 2, phase: 'start', message: 'started' }];
  const result = { app: 'hello', version: 2, targets: 1, timings: { buildMs: null, rolloutMs: 900 } };
  const ran = await run('ensure hello', { answers: { 'versions.ensure': result }, items });
  assert.equal(ran.err, 'version 2: start: started\n');
  assert.equal(ran.out, 'hello: version 2 is ready on one target (rollout 0.90 s)\n');
});

test('--version is the release at the front, and a version of the app behind a command', async () => {
  assert.match((await run('--version')).out, /^\d+\.\d+\.\d+\n$/);
  const { out, calls } = await run('ensure hello --version 9', {
    answers: { 'versions.ensure': new AppError('version_not_found', 'no') },
  });
  assert.equal(out, '');
  assert.deepEqual(calls[0]?.params, { app: 'hello', version: 9 });
});

test('exit codes tell what went wrong', async () => {
  const failing = async (error: Error): Promise<number> =>
    (await run('app hello', { answers: { 'apps.get': error } })).code;
  assert.equal(await failing(new AppError('app_not_found', 'no app')), 3);
  assert.equal(await failing(new AppError('forbidden', 'no')), 4);
  assert.equal(await failing(new AppError('link_lost', 'gone')), 5);
  assert.equal(await failing(new AppError('store_unavailable', 'down')), 1);
  assert.equal(await failing(new Error('odd')), 1);
  assert.equal((await run('app')).code, 2);
  assert.equal((await run('nonsense')).code, 2);
  assert.equal((await run('apps -o xml')).code, 2);
  assert.equal((await run('--help')).code, 0);
});

test('an interrupted call is exit code 130', async () => {
  const cancelled = { answers: { 'apps.list': new AppError('cancelled', 'cancelled') } };
  assert.equal((await run('apps', cancelled, { interrupted: AbortSignal.abort() })).code, 130);
});

test('an error has its code, its message, the log lines and what to do', async () => {
  const error = new AppError('app_crashed', 'exit code 1', { phase: 'start', data: { logs: ['boom'] } });
  const answers = { 'versions.ensure': error };
  assert.match(
    (await run('ensure hello', { answers })).err,
    /^holdfast: app_crashed: exit code 1\n {2}\| boom\n {2}The app exited/,
  );
  const parsed = JSON.parse((await run('ensure hello -o json', { answers })).err);
  assert.equal(parsed.error.code, 'app_crashed');
  assert.equal(parsed.error.owner, 'app');
});

test('without an agent in the environment the one that runs in this folder or above is found', async (t) => {
  const root = await folder(t);
  const env = { XDG_STATE_HOME: join(root, 'state') };
  await mkdir(join(root, 'a', 'b'), { recursive: true });
  await announce(stateFolder(root, env));
  const answers = { 'apps.list': { apps: [] } };
  const found = await run('apps', { answers }, { env, cwd: join(root, 'a', 'b') });
  assert.deepEqual(found.endpoints, [{ url: 'http://127.0.0.1:1', token: 'local' }]);
  const named = await run(
    'apps --agent http://other.example:1',
    { answers },
    { env: { ...env, HOLDFAST_TOKEN: 'x' }, cwd: root },
  );
  assert.deepEqual(named.endpoints, [{ url: 'http://other.example:1', token: 'x' }]);
});

test('no file of a folder that may be a clone, of others, or for another machine names the agent', async (t) => {
  const root = await folder(t);
  const env = { XDG_STATE_HOME: join(root, 'state') };
  const state = stateFolder(root, env);
  const endpoints = async (): Promise<unknown> =>
    (await run('apps', { answers: { 'apps.list': { apps: [] } } }, { env, cwd: root })).endpoints;
  await announce(join(root, '.holdfast'));
  assert.deepEqual(await endpoints(), [], 'it came with the folder');
  await announce(state, { mode: 0o644 });
  assert.deepEqual(await endpoints(), [], 'others can read it');
  for (const agent of [
    'http://agent.example:1',
    'https://127.0.0.1:1',
    'http://127.0.0.1:1@agent.example',
    'file:///x',
  ]) {
    await announce(state, { agent });
    assert.deepEqual(await endpoints(), [], agent);
  }
});

async function announce(state: string, { agent = 'http://127.0.0.1:1', mode = 0o600 } = {}): Promise<void> {
  await mkdir(state, { recursive: true });
  const file = join(state, 'cli.json');
  await writeFile(file, JSON.stringify({ agent, token: 'local' }));
  await chmod(file, mode);
}

test('without any agent or token the message says what to set', async (t) => {
  const root = await folder(t);
  const nowhere = await run('apps', { answers: {} }, { env: {}, cwd: root });
  assert.equal(nowhere.code, 2);
  assert.match(nowhere.err, /set HOLDFAST_AGENT .* and HOLDFAST_TOKEN/);
  assert.equal(
    (await run('apps', { answers: {} }, { env: { HOLDFAST_AGENT: 'http://a.example' }, cwd: root })).code,
    4,
  );
  assert.equal((await run('apps', { answers: {} }, { env: { HOLDFAST_AGENT: 'agent.example' }, cwd: root })).code, 2);
});
