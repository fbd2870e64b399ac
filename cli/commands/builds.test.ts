import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import type { BuildView, ImageView } from '../../shared/protocol/views.ts';
import { runCli } from '../run.ts';

/** Runs a command against an agent that answers by method. */
async function run(line: string, answers: Record<string, unknown>, items: readonly unknown[] = []) {
  const calls: { method: string; params: unknown }[] = [];
  let out = '';
  let err = '';
  const code = await runCli(line.split(' '), {
    env: { HOLDFAST_AGENT: 'http://agent.example:7400', HOLDFAST_TOKEN: 'token' },
    cwd: '/',
    stdout: { write: (text) => (out += text) },
    stderr: { write: (text) => (err += text) },
    interrupted: new AbortController().signal,
    killed: new AbortController().signal,
    ask: async () => undefined,
    connect: () => ({
      async call(method, params, { onItem }) {
        calls.push({ method, params });
        for (const item of items) onItem?.(item as never);
        const answer = answers[method];
        if (answer instanceof Error) throw answer;
        return answer as never;
      },
    }),
  });
  return { code, out, err, calls };
}

const at = (second: number): string => `2026-01-02T03:04:0${second}.000Z`;
const build: BuildView = {
  tag: '0123456789abcdef0123456789abcdef01234567',
  app: 'shop',
  version: 3,
  state: 'failed',
  builder: 'kaniko',
  imageDigest: null,
  failure: {
    code: 'build_failed',
    phase: 'build',
    owner: 'app',
    message: 'RUN npm ci: exit code 1',
    logs: ['npm error'],
    at: at(9),
  },
  queuedAt: at(1),
  startedAt: at(2),
  endedAt: at(9),
};
const image: ImageView = {
  tag: build.tag,
  digest: `sha256:${'c'.repeat(64)}`,
  builtAt: at(9),
  versions: [1, 2, 3, 4, 5, 6, 7].map((version) => ({ app: 'shop', version })),
  inUse: true,
};

test('builds are listed with the cause and the last lines of those that failed', async () => {
  const { out, calls } = await run('builds shop', { 'builds.list': { builds: [build] } });
  assert.deepEqual(calls[0]?.params, { app: 'shop', limit: 20 });
  assert.match(out, /^IMAGE +APP +VERSION +STATE +TOOK/);
  assert.match(out, /0123456789ab +shop +3 +failed +7\.00 s +kaniko/);
  assert.match(out, /failed in build: build_failed: RUN npm ci: exit code 1\n +\| npm error/);
});

test('builds of an app that never was is an error, builds of one without builds is not', async () => {
  const none = { 'builds.list': { builds: [] } };
  assert.equal((await run('builds x', { ...none, 'apps.get': new AppError('app_not_found', 'no app x') })).code, 3);
  assert.equal((await run('builds x', { ...none, 'apps.get': {} })).code, 0);
});

test('images are listed with the versions that have them', async () => {
  const { out } = await run('images', { 'images.list': { images: [image] } });
  assert.match(out, /0123456789ab +cccccccccccc +yes +2026-01-02T03:04:09.000Z +shop v1, .* shop v5, 2 more/);
});

test('images are pruned, or said to be, and --keep without --prune is refused', async () => {
  const dry = await run('images --prune --keep 3 --dry-run', { 'images.prune': { dryRun: true, pruned: [image] } });
  assert.deepEqual(dry.calls, [{ method: 'images.prune', params: { keep: 3, dryRun: true } }]);
  assert.match(dry.out, /would delete one image/);
  const done = await run('images --prune', { 'images.prune': { dryRun: false, pruned: [] } });
  assert.equal(done.out, 'nothing to delete\n');
  assert.equal((await run('images --keep 3', {})).code, 2);
  assert.equal((await run('images shop --prune', {})).code, 2);
});

test('lines of a build go to the output, what became of it beside it', async () => {
  const lines = [{ tag: build.tag, line: 'RUN npm ci' }];
  const { out, err, calls } = await run('logs shop --build -f --version 3', { 'builds.logs': { build } }, lines);
  assert.deepEqual(calls, [{ method: 'builds.logs', params: { app: 'shop', version: 3, tail: 200, follow: true } }]);
  assert.equal(out, 'RUN npm ci\n');
  assert.match(err, /^build 0123456789ab of shop version 3: failed: build_failed/);
  const json = await run('logs shop --build -o json --tail 5000', { 'builds.logs': { build } }, lines);
  assert.deepEqual(JSON.parse(json.out), lines[0]);
  assert.deepEqual(json.calls[0]?.params, { app: 'shop', tail: 1_000, follow: false, version: undefined });
  const missing = new AppError('build_not_found', 'no image was built for shop');
  assert.equal((await run('logs shop --build', { 'builds.logs': missing })).code, 3);
});
