import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { AppError } from '../../shared/errors.ts';
import { ManagedChild } from './managed-child.ts';

interface Managed {
  readonly child: ManagedChild;
  readonly events: string[];
  /** The processes that became ready, in order. */
  readonly started: ChildProcess[];
  readonly gaveUp: Promise<AppError>;
  readonly nextEvent: (pattern: RegExp) => Promise<string>;
  readonly logFile: string;
}

async function manage(t: TestContext, script: string, deadlineMs = 10_000): Promise<Managed> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-child-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const events: string[] = [];
  const started: ChildProcess[] = [];
  const waiting = new Set<() => void>();
  const gaveUp = Promise.withResolvers<AppError>();
  const logFile = join(folder, 'child.log');
  const child = new ManagedChild({
    name: 'worker',
    args: ['-e', script],
    env: process.env,
    cwd: folder,
    logFile,
    ready: async (process, signal) => {
      await once(process, 'message', { signal });
      started.push(process);
    },
    readyDeadlineMs: deadlineMs,
    stopTimeoutMs: 300,
    pauses: { next: () => 1, reset: () => undefined },
    onEvent: (message) => {
      events.push(message);
      for (const look of waiting) look();
    },
    onGiveUp: gaveUp.resolve,
  });
  t.after(() => child.stop());
  const nextEvent = (pattern: RegExp): Promise<string> =>
    new Promise((resolve) => {
      const look = (): void => {
        const found = events.find((event) => pattern.test(event));
        if (found === undefined) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
    });
  return { child, events, started, gaveUp: gaveUp.promise, nextEvent, logFile };
}

const live = 'process.send("ready"); setInterval(() => {}, 1000);';
const never = new AbortController().signal;

test('a child is started, awaited and stopped, and its output is kept', async (t) => {
  const { child, started, logFile, events } = await manage(t, `console.log("hi"); ${live}`);
  await child.start(never);
  await child.stop();
  assert.equal(started[0]?.signalCode, 'SIGTERM');
  assert.equal(await readFile(logFile, 'utf8'), 'hi\n');
  assert.deepEqual(events, []);
});

test('a child that dies is started again', async (t) => {
  const { child, started, nextEvent } = await manage(t, live);
  await child.start(never);
  started[0]?.kill('SIGKILL');
  await nextEvent(/worker was killed by SIGKILL; restarting it/);
  await nextEvent(/worker is running again/);
  assert.equal(started.length, 2);
});

test('a child that dies each time is given up, with its last lines', async (t) => {
  const { child, gaveUp } = await manage(t, 'console.log("no luck"); process.send("ready", () => process.exit(3));');
  await child.start(never).catch(() => undefined);
  const error = await gaveUp;
  assert.match(error.message, /^worker exited with code 3, 9 times in a row; the last lines of .*:\n(no luck\n?)+$/);
});

test('a first start that fails tells the last lines and leaves nothing', async (t) => {
  const { child } = await manage(t, 'console.error("the port is taken"); process.exitCode = 1;');
  await assert.rejects(child.start(never), {
    message: /^worker exited with code 1; the last lines of .*:\nthe port is taken$/,
  });
});

test('a first start that takes too long is ended', async (t) => {
  const { child } = await manage(t, 'setInterval(() => {}, 1000);', 200);
  await assert.rejects(child.start(never), { message: /^worker was not ready within 0\.2 s/ });
});

test('a start that is cancelled ends the child', async (t) => {
  const { child } = await manage(t, 'setInterval(() => {}, 1000);');
  await assert.rejects(child.start(AbortSignal.abort()), { code: 'cancelled' });
});

test('a child that ignores SIGTERM is killed after a while', async (t) => {
  const { child, started } = await manage(t, `process.on("SIGTERM", () => {}); ${live}`);
  await child.start(never);
  await child.stop();
  assert.equal(started[0]?.signalCode, 'SIGKILL');
});

test('kill ends it at once', async (t) => {
  const { child, started } = await manage(t, `process.on("SIGTERM", () => {}); ${live}`);
  await child.start(never);
  child.kill();
  await child.stop();
  assert.equal(started[0]?.signalCode, 'SIGKILL');
});
