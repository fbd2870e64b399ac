/** `holdfast builder serve` as a process: its end in good order, at once, and by SIGKILL. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { createDelegateBuilder } from '../../agent/images/delegate/delegate-builder.ts';
import { leftovers, pushBase } from '../../agent/testing/buildah.ts';
import { delegateDeps, folderOf, requestOf, testToken } from '../../agent/testing/builder.ts';
import { startRegistry } from '../../agent/testing/registry.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';

interface Served {
  readonly child: ChildProcess;
  readonly url: string;
  readonly dataFolder: string;
  readonly exited: Promise<unknown[]>;
}

const main = join(import.meta.dirname, '../main.ts');

async function serve(t: TestContext, ...options: string[]): Promise<Served> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'holdfast-builder-'));
  const tokenFile = join(dataFolder, 'token');
  await writeFile(tokenFile, `${testToken}\n`);
  const fixed = ['--listen', '127.0.0.1:0', '--data-dir', dataFolder, '--token-file', tokenFile, '--tool', 'buildah'];
  const child = spawn(process.execPath, [main, 'builder', 'serve', ...fixed, ...options], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    await rm(dataFolder, { recursive: true, force: true });
  });
  for await (const line of createInterface(child.stdout)) {
    const { url } = JSON.parse(line) as { readonly url?: string };
    if (url === undefined) continue;
    child.stdout.resume();
    return { child, url, dataFolder, exited };
  }
  throw new Error('the builder did not begin to listen');
}

/** A build that says `begun` and goes on as the shell command says. */
async function begin(
  t: TestContext,
  command: string,
): Promise<{ readonly served: Served; readonly built: Promise<string>; readonly refused: () => Promise<string> }> {
  const registry = await startRegistry(t);
  const base = await pushBase(t, registry);
  const served = await serve(t, '--insecure-registry', registry.host, '--drain', '60');
  const builder = createDelegateBuilder(delegateDeps(served.url));
  t.after(() => builder.close());
  const folder = await folderOf(t, { Dockerfile: `FROM ${base}\nRUN echo begun; ${command}` });
  const begun = Promise.withResolvers<void>();
  const build = (tag: string): Promise<string> =>
    builder.build(requestOf(folder, `${registry.host}/team/app:${tag}`, { tag }), {
      signal: AbortSignal.timeout(60_000),
      onPhase: () => undefined,
      onLine: (line) => void (line === 'begun' && begun.resolve()),
    });
  const built = build('one');
  built.catch(begun.reject);
  await begun.promise;
  return { served, built, refused: () => build('two') };
}

test('on SIGTERM it takes nothing new, lets what runs end, and leaves nothing', async (t) => {
  const { served, built, refused } = await begin(t, 'sleep 3');
  served.child.kill('SIGTERM');
  await eventually(5_000, async () => assert.equal((await fetch(`${served.url}/readyz`)).status, 503));
  assert.equal((await fetch(`${served.url}/livez`)).status, 200);
  await assert.rejects(refused(), { code: 'builder_unavailable', message: /stops/ });
  assert.match(await built, /^sha256:/);
  assert.deepEqual((await served.exited)[0], 0);
  assert.deepEqual(await leftovers(served.dataFolder), []);
});

test('killed, it leaves no process and no mount', async (t) => {
  const { served, built } = await begin(t, 'sleep 3006');
  const lost = assert.rejects(built, { code: 'builder_unavailable' });
  served.child.kill('SIGKILL');
  await lost;
  await eventually(10_000, async () => {
    const left = await leftovers(served.dataFolder);
    assert.deepEqual(
      left.filter((what) => !what.startsWith('b-')),
      [],
      'folders are emptied by the next start',
    );
  });
});

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...args: string[]): Promise<Ended> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return { code, out, err };
}

const program = join(import.meta.dirname, '../../builder/main.ts');

test('without a token it listens on loopback addresses alone', async () => {
  for (const command of [[main, 'builder', 'serve'], [program]]) {
    const { code, err } = await run(...command, '--listen', '0.0.0.0:0');
    assert.equal(code, 2);
    assert.match(err, /^holdfast: --token-file is required/);
  }
});

test('options of every command are passed on from wherever they stand', async () => {
  const { code, err } = await run(main, '-o', 'json', '--token-file', '/no/token', 'builder', 'serve');
  assert.equal(code, 2);
  const { error } = JSON.parse(err) as { readonly error: { readonly code: string; readonly message: string } };
  assert.equal(error.code, 'config_invalid');
  assert.match(error.message, /^\/no\/token cannot be read/);
  const wrong = await run(main, 'builder', 'serve', '--max-queue', '0', '--timeout', '1.5');
  assert.equal(wrong.code, 2);
  assert.match(wrong.err, /^error: option '--max-queue <n>' argument '0' is invalid. It must be at least 1/);
});

test('the help is the one of the builder itself', async () => {
  const [cli, own] = await Promise.all([run(main, 'builder', 'serve', '--help'), run(program, '--help')]);
  assert.deepEqual(cli, own);
  assert.equal(cli.code, 0);
  assert.match(cli.out, /^Usage: holdfast builder serve \[options\]\n/);
});
