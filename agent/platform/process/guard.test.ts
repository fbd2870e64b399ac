import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startGuarded, type GuardedProcess } from './guard.ts';

const env = { PATH: process.env['PATH'] ?? '/usr/bin:/bin' };

function start(t: TestContext, argv: readonly string[], more: Record<string, string> = {}): GuardedProcess {
  const child = startGuarded({ argv, cwd: '/', env: { ...env, ...more } });
  child.stderr.resume();
  t.after(async () => {
    child.kill('SIGKILL');
    await child.ended;
  });
  return child;
}

/** A zombie, which waits for some other process to take note, is dead. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = existsSync('/proc/self/stat') ? readFileSync(`/proc/${pid}/stat`, 'utf8') : '';
    return !/\) Z /.test(stat);
  } catch {
    return false;
  }
}

async function untilDead(pid: number): Promise<void> {
  for (let tries = 0; tries < 250; tries += 1) {
    if (!isAlive(pid)) return;
    await delay(20);
  }
  assert.fail(`process ${pid} still lives`);
}

void test('pid, output and exit code are those of the command', async (t) => {
  const child = start(t, ['sh', '-c', 'echo $$; exit 7']);
  const output = await text(child.stdout);
  assert.equal(Number(output), child.pid);
  assert.deepEqual(await child.exited, { kind: 'code', code: 7 });
  await child.ended;
});

void test('a command that ends by a signal says so', async (t) => {
  const child = start(t, ['sh', '-c', 'kill -ABRT $$']);
  child.stdout.resume();
  assert.deepEqual(await child.exited, { kind: 'signal', signal: 'SIGABRT' });
  await child.ended;
});

void test('SIGTERM reaches the command, which may take its time to end', async (t) => {
  const script = `process.on('SIGTERM', () => setTimeout(() => process.exit(3), 100)); console.log('up'); setInterval(() => {}, 1000)`;
  const child = start(t, [process.execPath, '-e', script]);
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  assert.deepEqual(await child.exited, { kind: 'code', code: 3 });
  await child.ended;
});

void test('what a shell has started keeps its time to end although the shell ends at once', async (t) => {
  const script = `process.on('SIGTERM', () => setTimeout(() => { console.log('done'); process.exit(0) }, 100)); console.log('up'); setInterval(() => {}, 1000)`;
  const child = start(t, ['sh', '-c', `'${process.execPath}' -e "${script}"; true`]);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  assert.equal((await lines.next()).value, 'up');
  child.kill('SIGTERM');
  assert.deepEqual(await child.exited, { kind: 'signal', signal: 'SIGTERM' });
  assert.equal((await lines.next()).value, 'done');
  await child.ended;
});

void test('what a command leaves behind goes when it ends', async (t) => {
  const child = start(t, ['sh', '-c', 'sleep 1000 & echo $!']);
  const pid = Number(await text(child.stdout));
  await child.ended;
  await untilDead(pid);
});

void test('SIGKILL ends all that the command has started', async (t) => {
  const child = start(t, ['sh', '-c', 'trap "" TERM; sleep 1000 & echo $!; wait']);
  const [chunk] = (await once(child.stdout, 'data')) as [Buffer];
  child.kill('SIGKILL');
  assert.deepEqual(await child.exited, { kind: 'signal', signal: 'SIGKILL' });
  await child.ended;
  await untilDead(Number(chunk));
});

void test('nothing outlives an agent that is killed with -9', async (t) => {
  const module = JSON.stringify(`file://${import.meta.dirname}/guard.ts`);
  const script = `
    const { startGuarded } = await import(${module});
    const child = startGuarded({ argv: ['sh', '-c', 'trap "" TERM HUP; sleep 1000 & echo $$ $!; wait'], cwd: '/', env: process.env });
    child.stdout.pipe(process.stdout);`;
  const agent = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => agent.kill('SIGKILL'));
  const [chunk] = (await once(agent.stdout, 'data')) as [Buffer];
  const pids = String(chunk).trim().split(' ').map(Number);
  assert.equal(pids.length, 2);
  assert.ok(pids.every(isAlive));
  agent.kill('SIGKILL');
  for (const pid of pids) await untilDead(pid);
});

void test('the environment arrives whole, names that sh does not know included', async (t) => {
  const value = 'with "quotes", $HOME and\nlines';
  const child = start(t, [process.execPath, '-e', 'console.log(JSON.stringify(process.env))'], {
    PLAIN: value,
    'with.dot-and-dash': value,
  });
  const seen = JSON.parse(await text(child.stdout)) as Record<string, string>;
  assert.equal(seen['PLAIN'], value);
  assert.equal(seen['with.dot-and-dash'], value);
  await child.ended;
});

void test('a folder that is not there is an error, and nothing is left', async () => {
  const child = startGuarded({ argv: ['true'], cwd: '/not/there', env });
  const exit = await child.exited;
  assert.equal(exit.kind, 'error');
  await child.ended;
  child.kill('SIGTERM');
});
