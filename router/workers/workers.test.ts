import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { test, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startFakeAgent } from '../../bench/rig/fake-agent.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { call, closedPort, ready, routeOf, startUpstream, targetOf } from '../testing/router.ts';

const main = fileURLToPath(new URL('../main.ts', import.meta.url));
const token = 'a-token-for-tests-0123456789';

interface Started {
  readonly child: ChildProcess;
  readonly port: number;
  readonly adminPort: number;
  readonly lines: Record<string, unknown>[];
}

async function startProcess(t: TestContext, env: Record<string, string> = {}): Promise<Started> {
  const child = spawn(process.execPath, [main], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env['PATH'],
      HOLDFAST_ROUTER_WORKERS: '2',
      HOLDFAST_ROUTER_LISTEN_HOST: '127.0.0.1',
      HOLDFAST_ROUTER_LISTEN_PORT: '0',
      HOLDFAST_ROUTER_ADMIN_PORT: '0',
      HOLDFAST_ROUTER_TOKEN: token,
      HOLDFAST_ROUTER_DRAIN_DELAY_SECS: '0',
      ...env,
    },
  });
  const lines: Record<string, unknown>[] = [];
  t.after(async () => {
    const exited = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined;
    child.kill('SIGKILL');
    await exited;
    const left = new Set(lines.map(({ msg, pid }) => (msg === 'worker listens' ? (pid as number) : 0)));
    left.delete(0);
    // A worker goes with the first process, however that ends.
    await until(() => [...left].every((pid) => !isAlive(pid)), 'the end of all workers');
  });
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line) as (typeof lines)[0]));
  const hello = (): Record<string, unknown> | undefined => lines.find(({ msg }) => msg === 'listening');
  await until(() => hello() !== undefined || child.exitCode !== null, 'the workers', { withinMs: 60_000 });
  return { child, port: Number(hello()?.['port']), adminPort: Number(hello()?.['adminPort']), lines };
}

/** With an app that answers, and an agent that says where it is. */
async function startServing(t: TestContext, env: Record<string, string> = {}): Promise<Started> {
  const app = await startUpstream(t, 'a-1', (_, res) => res.end('ok'));
  const agent = await startFakeAgent({ token, routes: [routeOf('a', ready(targetOf(app)))] });
  t.after(() => agent.close());
  const started = await startProcess(t, { HOLDFAST_ROUTER_AGENT_URL: agent.url, ...env });
  while ((await call(started.adminPort, '/readyz')).status !== 200);
  return started;
}

function workersOf({ lines }: Started): number[] {
  return lines.flatMap(({ msg, pid }) => (msg === 'worker listens' ? [pid as number] : []));
}

function isAlive(pid: number): boolean {
  try {
    // One that has ended and is not yet waited for is a zombie.
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function metric({ adminPort }: Started, name: string): Promise<number> {
  const { body } = await call(adminPort, '/metrics');
  return Number(new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(body)?.[1]);
}

const counted = 'holdfast_router_requests_total{code="200"}';

test('several workers are one router: one port, one readiness, the sum of their metrics', async (t) => {
  const started = await startServing(t, { HOLDFAST_ROUTER_ACCESS_LOG: 'true' });
  await Promise.all(Array.from({ length: 60 }, () => call(started.port, '/a')));
  assert.equal(await metric(started, counted), 60);
  assert.equal(await metric(started, 'holdfast_router_workers'), 2);
  // Of both the same, not twice as many.
  assert.equal(await metric(started, 'holdfast_router_routes'), 1);
  assert.equal(new Set(workersOf(started)).size, 2);
  const view = JSON.parse((await call(started.adminPort, '/debug/targets')).body) as { workers: unknown[] };
  assert.equal(view.workers.length, 2);
  assert.equal((await call(started.adminPort, '/debug/targets?x=1')).status, 400);
  await until(() => started.lines.filter(({ msg }) => msg === 'call').length === 60, 'the lines of all calls');
});

test('a worker that dies is started again, the others serve meanwhile, and what it counted stays', async (t) => {
  const started = await startServing(t);
  await Promise.all(Array.from({ length: 40 }, () => call(started.port, '/a')));
  assert.equal(await metric(started, counted), 40);
  process.kill(workersOf(started)[0] ?? 0, 'SIGKILL');
  await until(() => started.lines.some(({ msg }) => msg === 'worker ended'), 'its end');
  let calls = 0;
  while (workersOf(started).length < 3) {
    assert.equal((await call(started.port, '/a')).status, 200);
    calls += 1;
    assert.equal((await call(started.adminPort, '/readyz')).status, 200);
  }
  assert.ok(calls > 0);
  assert.equal(await metric(started, counted), 40 + calls);
  assert.equal(await metric(started, 'holdfast_router_worker_restarts_total'), 1);
  assert.equal(await metric(started, 'holdfast_router_workers'), 2);
});

test('a worker that stands still is told of, and what it has counted is not lost from the sum', async (t) => {
  const started = await startServing(t);
  await Promise.all(Array.from({ length: 40 }, () => call(started.port, '/a')));
  assert.equal(await metric(started, counted), 40);
  const [pid = 0] = workersOf(started);
  process.kill(pid, 'SIGSTOP');
  assert.equal(await metric(started, 'holdfast_router_workers_silent'), 1);
  assert.equal(await metric(started, counted), 40);
  const readiness = await call(started.adminPort, '/readyz');
  assert.deepEqual([readiness.status, readiness.body], [200, 'ok, without 1 of 2 workers\n']);
  process.kill(pid, 'SIGCONT');
  while ((await metric(started, 'holdfast_router_workers_silent')) !== 0);
});

test('a drain loses no call of any worker', async (t) => {
  const started = await startServing(t, { HOLDFAST_ROUTER_DRAIN_DELAY_SECS: '0.5' });
  const ended = once(started.child, 'exit');
  let over = false;
  let calls = 0;
  const failed: unknown[] = [];
  const callers = Array.from({ length: 8 }, async () => {
    while (!over) {
      try {
        const answer = await call(started.port, '/a');
        calls += 1;
        if (answer.status !== 200) failed.push(answer);
      } catch (error) {
        over = true;
        const { code } = error as NodeJS.ErrnoException;
        // What has connected in the moment of the close is reset by the kernel: it was never a call.
        if (code !== 'ECONNREFUSED' && code !== 'ECONNRESET') failed.push(error);
      }
    }
  });
  await until(() => calls > 50, 'calls');
  started.child.kill('SIGTERM');
  await Promise.all(callers);
  assert.deepEqual(failed, []);
  assert.deepEqual(await ended, [0, null]);
  assert.equal(started.lines.filter(({ msg }) => msg === 'drained').length, 2);
});

test('workers go with the first process when that is killed', async (t) => {
  const started = await startServing(t);
  started.child.kill('SIGKILL');
  await until(() => workersOf(started).every((pid) => !isAlive(pid)), 'their end');
});

test('what keeps the workers from starting ends the process with 1', async (t) => {
  const port = await closedPort();
  const first = await startProcess(t, {
    HOLDFAST_ROUTER_LISTEN_PORT: String(port),
    HOLDFAST_ROUTER_AGENT_URL: `http://127.0.0.1:${await closedPort()}`,
  });
  assert.equal(first.port, port);
  const second = await startProcess(t, { HOLDFAST_ROUTER_LISTEN_PORT: String(port) });
  assert.equal(second.child.exitCode, 1);
});
