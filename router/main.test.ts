import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { test, type TestContext } from 'node:test';
import { call, closedPort } from './testing/router.ts';

const main = fileURLToPath(new URL('main.ts', import.meta.url));

interface Started {
  readonly child: ChildProcess;
  readonly port: number;
  readonly adminPort: number;
}

/** A router process whose agent does not exist. */
async function startProcess(t: TestContext, env: Record<string, string> = {}): Promise<Started> {
  const [port, adminPort, agentPort] = [await closedPort(), await closedPort(), await closedPort()];
  const child = spawn(process.execPath, [main], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: {
      PATH: process.env['PATH'],
      HOLDFAST_ROUTER_LISTEN_HOST: '127.0.0.1',
      HOLDFAST_ROUTER_LISTEN_PORT: String(port),
      HOLDFAST_ROUTER_ADMIN_PORT: String(adminPort),
      HOLDFAST_ROUTER_AGENT_URL: `http://127.0.0.1:${agentPort}`,
      HOLDFAST_ROUTER_TOKEN: 'a-token-for-tests-0123456789',
      HOLDFAST_ROUTER_DRAIN_DELAY_SECS: '0',
      ...env,
    },
  });
  t.after(() => child.kill('SIGKILL'));
  return { child, port, adminPort };
}

async function listening({ child }: Started): Promise<void> {
  for await (const chunk of child.stdout ?? []) {
    if (String(chunk).includes('"listening"')) break;
  }
}

test('the process is alive and not ready without an agent, and ends with 0 on SIGTERM', async (t) => {
  const started = await startProcess(t);
  const ended = once(started.child, 'exit');
  await listening(started);
  assert.equal((await call(started.adminPort, '/livez')).status, 200);
  const readiness = await call(started.adminPort, '/readyz');
  assert.deepEqual([readiness.status, readiness.body], [503, 'no routes from the agent yet\n']);
  assert.match((await call(started.adminPort, '/metrics')).body, /holdfast_router_agent_link_up 0/);
  assert.equal((await call(started.adminPort, '/debug/targets?app=a')).body, '{"targets":[],"more":false}\n');
  assert.equal((await call(started.adminPort, '/debug/targets?limit=0')).status, 400);
  const answer = await call(started.port, '/x');
  assert.deepEqual([answer.status, JSON.parse(answer.body).code], [503, 'agent_unavailable']);
  started.child.kill('SIGTERM');
  assert.deepEqual(await ended, [0, null]);
});

test('the process drains when the one that started it is gone', async (t) => {
  const started = await startProcess(t);
  const ended = once(started.child, 'exit');
  await listening(started);
  started.child.disconnect();
  await ended;
  await assert.rejects(call(started.port, '/x'), { code: 'ECONNREFUSED' });
});

test('a wrong configuration, or a port that is taken, ends the process with 1 and says why', async (t) => {
  const wrong = await startProcess(t, { HOLDFAST_ROUTER_LEASE_SECS: 'soon' });
  const said = textOf(wrong.child);
  assert.deepEqual(await once(wrong.child, 'exit'), [1, null]);
  assert.match(await said, /lease_secs/);
  const first = await startProcess(t);
  await listening(first);
  const second = await startProcess(t, { HOLDFAST_ROUTER_ADMIN_PORT: String(first.adminPort) });
  const why = textOf(second.child);
  assert.deepEqual(await once(second.child, 'exit'), [1, null]);
  assert.match(await why, /EADDRINUSE/);
});

async function textOf(child: ChildProcess): Promise<string> {
  let text = '';
  for await (const chunk of child.stderr ?? []) text += String(chunk);
  return text;
}
