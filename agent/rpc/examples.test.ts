/** The programs of examples/rpc, run as a reader of the docs would run them, on the real method table. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { agentMethods, type MethodTable } from '../../shared/protocol/methods.ts';
import type { Handlers } from '../../shared/rpc/types.ts';
import { tokensOf } from '../testing/tokens.ts';
import { createRpcServer } from './server.ts';

const local = {
  'apps.apply': agentMethods['apps.apply'],
  'versions.ensure': agentMethods['versions.ensure'],
} as const satisfies MethodTable;
const remote = {} as const satisfies MethodTable;

const handlers: Handlers<typeof local, typeof remote> = {
  'apps.apply': async ({ apps }) => ({
    dryRun: false,
    changes: apps.map((app) => ({ app: app.name, action: 'create' as const, version: 1, fields: [], url: null })),
    routers: { acknowledged: 1, expired: 0 },
  }),
  'versions.ensure': async ({ app }, { emit }) => {
    if (app === 'broken') throw new AppError('app_crashed', 'exited with 1', { phase: 'start' });
    await emit({ app, version: 1, phase: 'start', message: 'starting' });
    await emit({ app, version: 1, phase: 'ready', message: 'answers' });
    return { app, version: 1, targets: 1, timings: { buildMs: null, rolloutMs: 12 } };
  },
};

interface Ended {
  readonly exitCode: number;
  readonly output: string;
}

/** Runs a program of examples/rpc against a server of its own. */
async function run(t: TestContext, file: string, ...args: string[]): Promise<Ended> {
  const tokens = tokensOf([{ name: 'ci', scopes: ['deploy'], value: 'secret-of-ci' }]);
  const server = createRpcServer({ tokens, local, remote, handlers, isLeader: () => true, log: silentLog });
  const port = await server.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => server.close());
  const path = fileURLToPath(new URL(`../../examples/rpc/${file}`, import.meta.url));
  const [command, ...rest] = file.endsWith('.mjs') ? [process.execPath, path, ...args] : [path, ...args];
  const env = { ...process.env, HOLDFAST_AGENT: `http://127.0.0.1:${port}`, HOLDFAST_TOKEN: 'secret-of-ci' };
  return await new Promise((resolve) => {
    execFile(command, rest, { env, timeout: 20_000 }, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ exitCode, output: stdout + stderr });
    });
  });
}

test('follow.mjs, with nothing but a WebSocket library, declares an app and follows its ensure', async (t) => {
  const { exitCode, output } = await run(t, 'follow.mjs', 'hello', 'registry.example/hello:1');
  assert.equal(exitCode, 0, output);
  assert.match(output, /apply .*create.*\nstart starting\nready answers\nensure .*rolloutMs: 12/s);
});

test('follow.sh, with one curl, does the same', async (t) => {
  const { exitCode, output } = await run(t, 'follow.sh', 'hello', 'registry.example/hello:1');
  assert.equal(exitCode, 0, output);
  assert.deepEqual(
    output
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { id?: string; method?: string })
      .map(({ id, method }) => id ?? method),
    ['apply', 'rpc.item', 'rpc.item', 'ensure'],
  );
});

test('both say so when the version does not run, or the app is not valid', async (t) => {
  for (const file of ['follow.mjs', 'follow.sh']) {
    const broken = await run(t, file, 'broken', 'registry.example/broken:1');
    assert.notEqual(broken.exitCode, 0, file);
    assert.match(broken.output, /app_crashed/);
    const invalid = await run(t, file, 'Not_A_Name', 'registry.example/x:1');
    assert.notEqual(invalid.exitCode, 0, file);
    assert.match(invalid.output, /invalid_params/);
  }
});
