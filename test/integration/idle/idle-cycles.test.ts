/**
 * Idle, wake, idle again, with calls at the worst moments: between the steps of the drain, and while the app is being ended. Two real
 * routers, a real agent, a real Postgres. No call may be lost, and none may reach the app twice.
 * HOLDFAST_IDLE_CYCLES: how many; HOLDFAST_IDLE_SEED: repeats what was drawn.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Stack, testAppFolder } from '../stack.ts';
import { callKinds, createCaller } from './callers.ts';
import { createRandom } from './random.ts';
import { startWatchingRouter, steps, type Step } from './watching-router.ts';

const cycles = Number(process.env['HOLDFAST_IDLE_CYCLES'] ?? 200);
const seed = Number(process.env['HOLDFAST_IDLE_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
/** They take their turns by themselves, so cycles go beside each other. */
const apps = 12;
const idleSecs = 0.2;
/** Longer than routers are given to have their calls ended while an app drains. */
const longMs = 2_500;
const stepDeadlineMs = 30_000;
/**
 * After a step: up to the end of a process that was told to stop. While it is ready: over a few reports and looks, so that calls
 * begin that the agent does not know of when it begins to drain.
 */
const jitterMs: Readonly<Record<Step, number>> = {
  draining: 12,
  acknowledged: 8,
  asked: 8,
  answered: 8,
  asleep: 120,
  ready: 700,
};

test(`${cycles} cycles of idle and wake with calls at the worst moments lose no call and repeat none`, async (t) => {
  t.diagnostic(`HOLDFAST_IDLE_SEED=${seed}`);
  const random = createRandom(seed);
  const stack = await Stack.start(t, { routers: 2 });
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-idle-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const ledger = join(folder, 'calls');
  const watching = await startWatchingRouter({
    agentUrl: stack.agentUrl,
    token: stack.token,
    delayMs: () => random.below(10),
  });
  t.after(() => watching.close());
  const caller = createCaller(random);
  t.after(() => caller.close());

  const names = Array.from({ length: apps }, (_, index) => `app${index}`);
  await stack.call('apps.apply', {
    apps: names.map((name, index) => ({
      name,
      path: `/${name}`,
      source: testAppFolder,
      // Whatever is in flight when it is told to end is lost.
      env: { LEDGER: ledger, ABRUPT: '1' },
      // Both ways of counting a call.
      config: { container: { idle_shutdown_secs: idleSecs, idle_bytes_high_watermark: index % 2 === 0 ? 0 : 1_500 } },
    })),
  });

  const ids: string[] = [];
  const failures: string[] = [];
  async function callSome(app: string, lastsMs = 80): Promise<void> {
    await Promise.all(
      Array.from({ length: 1 + random.below(3) }, async () => {
        const id = `${app}-${ids.length}`;
        ids.push(id);
        const url = `${random.pick(stack.routerUrls)}/${app}`;
        const failure = await caller.call(random.pick(callKinds), url, id, lastsMs);
        if (failure !== undefined) failures.push(failure);
      }),
    );
  }

  const drawn = new Map<Step, number>();
  let begun = 0;
  async function cycle(app: string): Promise<void> {
    const step = random.pick([...steps, 'ready', 'ready', 'ready'] as const);
    drawn.set(step, (drawn.get(step) ?? 0) + 1);
    const came = step === 'ready' || watching.next(app, step, stepDeadlineMs);
    await callSome(app);
    if (!(await came)) throw new Error(`${app} did not come to ${step} within ${stepDeadlineMs} ms`);
    await pause(random.below(jitterMs[step] + 1));
    await callSome(app, step === 'ready' ? longMs : 80);
  }

  const beganMs = performance.now();
  await Promise.all(
    names.map(async (app) => {
      while (begun < cycles && failures.length === 0) {
        begun += 1;
        await cycle(app);
      }
    }),
  );
  const secs = ((performance.now() - beganMs) / 1_000).toFixed(1);
  t.diagnostic(`${begun} cycles and ${ids.length} calls in ${secs} s; ${JSON.stringify(watching.counts)}; drawn ${JSON.stringify(Object.fromEntries(drawn))}`); // prettier-ignore

  assert.deepEqual(failures, []);
  const entered = (await readFile(ledger, 'utf8')).split('\n').filter((line) => line !== '');
  assert.deepEqual(entered.toSorted(), ids.toSorted(), 'each call reached the app once');
  for (const step of steps) assert.ok(watching.counts[step] > 0, `the step ${step} was never made`);
});
