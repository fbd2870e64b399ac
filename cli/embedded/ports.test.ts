import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test, type TestContext } from 'node:test';
import { UsageError } from '../../shared/command/exit-code.ts';
import { AppError } from '../../shared/errors.ts';
import { listen } from '../../shared/net/listen.ts';
import { onFreePorts } from './ports.ts';

/** Takes a port as another program would. @returns the port. */
async function take(t: TestContext, port: number): Promise<number> {
  const server = createServer();
  t.after(() => new Promise((done) => server.close(done)));
  return (await listen(server, { host: '127.0.0.1', port })).port;
}

/** What a part of the embedded Holdfast fails with when it cannot listen. */
const taken = (port: number): AppError =>
  new AppError('internal', `router exited with code 1; the last lines: Error: listen EADDRINUSE 127.0.0.1:${port}`);

void test('a port that another program takes between the choice and listening is replaced by the next free one', async (t) => {
  const tried: number[] = [];
  const calls = await onFreePorts(undefined, async (ports) => {
    tried.push(ports.calls);
    if (tried.length > 1) return ports.calls;
    await take(t, ports.calls);
    throw taken(ports.calls);
  });
  const [first = 0, second = 0] = tried;
  assert.ok(second > first, `${first}, then ${second}`);
  assert.equal(calls, second);
});

void test('a port that the user wants and another program takes is named, with what to do', async (t) => {
  const holder = createServer();
  const { port } = await listen(holder, { host: '127.0.0.1', port: 0 });
  await new Promise((done) => holder.close(done));
  const starting = onFreePorts(port, async ({ calls }) => {
    await take(t, calls);
    throw taken(calls);
  });
  await assert.rejects(starting, new UsageError(`port ${port} is in use; choose another with --port`));
});

void test('ports are not chosen without end, and other failures pass at once', async () => {
  let starts = 0;
  const losing = onFreePorts(undefined, ({ calls }) => {
    starts += 1;
    return Promise.reject(taken(calls));
  });
  await assert.rejects(losing, /was taken by another program 5 times.*choose a port with --port/);
  assert.equal(starts, 5);
  const failing = onFreePorts(undefined, () => Promise.reject(new AppError('internal', 'no disk')));
  await assert.rejects(failing, { message: 'no disk' });
});
