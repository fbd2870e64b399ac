/** The embedded default as a newcomer uses it: real processes, real calls. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cp, readFile, readdir, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setInterval as every, setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { call as callOnce, folder, holdfast, start, stateOf } from '../testing/embedded.ts';

const examples = fileURLToPath(new URL('../../examples', import.meta.url));

test('start, call, change, apply: calls go on without an error and the next one is answered by v2', async (t) => {
  const home = await folder(t);
  const started = await start(t, home);
  assert.match(await text(started.url), /^Hello from v1/);

  assert.equal((await stat(join(stateOf(home), 'cli.json'))).mode & 0o777, 0o600);
  const second = await holdfast(home, 'start');
  assert.equal(second.code, 2);
  assert.match(second.err, /Holdfast is already running in this folder/);

  // Below the folder, so that the commands find the agent from here without any environment.
  const mine = join(home, 'mine');
  await cp(examples, mine, { recursive: true });
  const load = startLoad(started.url);
  const server = join(mine, 'hello', 'server.js');
  await writeFile(server, (await readFile(server, 'utf8')).replace("'v1'", "'v2'"));
  const applied = await holdfast(mine, 'apply', '-f', 'apps.toml');
  const appliedAtMs = performance.now();
  assert.equal(applied.code, 0, applied.err);
  assert.match(applied.out, /^hello: updated, version 2/);
  assert.match(await text(started.url), /^Hello from v2/);
  await delay(500);
  const calls = await load.stop();

  assert.ok(calls.length >= 20, `${calls.length} calls`);
  assert.deepEqual(
    calls.filter((call) => call.status !== 200),
    [],
  );
  const stale = calls.filter((call) => call.startedAtMs > appliedAtMs && !call.body.startsWith('Hello from v2'));
  assert.deepEqual(stale, []);

  started.process.kill('SIGINT');
  assert.deepEqual(await once(started.process, 'exit'), [0, null]);
  assert.deepEqual(await processesIn(home), []);
});

test('when the supervisor is killed nothing outlives it', async (t) => {
  const home = await folder(t);
  const started = await start(t, home);
  assert.match(await text(started.url), /^Hello from v1/);
  started.process.kill('SIGKILL');
  await once(started.process, 'exit');
  const deadline = AbortSignal.timeout(15_000);
  while ((await processesIn(home)).length > 0) {
    deadline.throwIfAborted();
    await delay(50);
  }
});

interface Call {
  readonly startedAtMs: number;
  readonly status: number;
  readonly body: string;
}

/** 50 calls a second, however long each takes. */
function startLoad(url: string): { stop(): Promise<Call[]> } {
  const ended = new AbortController();
  const calls: Promise<Call>[] = [];
  const ticking = (async () => {
    try {
      for await (const _ of every(20, undefined, { signal: ended.signal })) calls.push(call(url));
    } catch (error) {
      if (!ended.signal.aborted) throw error;
    }
  })();
  return {
    async stop() {
      ended.abort();
      await ticking;
      return Promise.all(calls);
    },
  };
}

async function call(url: string): Promise<Call> {
  const startedAtMs = performance.now();
  return { startedAtMs, ...(await callOnce(url)) };
}

async function text(url: string): Promise<string> {
  return (await call(url)).body;
}

/** Every part works below the folder it was started in: `pid command` of each process that does. */
async function processesIn(home: string): Promise<string[]> {
  const found = await Promise.all(
    (await readdir('/proc'))
      .filter((name) => /^\d+$/.test(name))
      .map(async (pid) => {
        try {
          const cwd = await readlink(`/proc/${pid}/cwd`);
          if (cwd !== home && !cwd.startsWith(`${home}/`)) return [];
          return [`${pid} ${(await readFile(`/proc/${pid}/cmdline`, 'utf8')).replaceAll('\0', ' ')}`];
        } catch {
          return [];
        }
      }),
  );
  return found.flat();
}
