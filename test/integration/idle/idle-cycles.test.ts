/**
 * Two real routers, a real agent, a real Postgres: no call may be lost, and none may reach the app twice.
 * HOLDFAST_IDLE_CYCLES: how many; HOLDFAST_IDLE_SEED: repeats what was drawn.
 */
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { runCycles } from '../../support/idle/cycles.ts';
import { createRandom } from '../../support/idle/random.ts';
import { startWatchingRouter, steps } from '../../support/idle/watching-router.ts';
import { Stack, testAppFolder } from '../stack.ts';

const cycles = Number(process.env['HOLDFAST_IDLE_CYCLES'] ?? 200);
const seed = Number(process.env['HOLDFAST_IDLE_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const apps = Array.from({ length: 12 }, (_, index) => `app${index}`);
const idleSecs = 0.2;

test(`${cycles} cycles of idle and wake with calls at the worst moments lose no call and repeat none`, async (t) => {
  t.diagnostic(`HOLDFAST_IDLE_SEED=${seed}`);
  const random = createRandom(seed);
  const stack = await Stack.start(t, { routers: 2 });
  const { agentUrl, token, routerUrls } = stack;
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-idle-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const ledger = join(folder, 'calls');
  const watching = await startWatchingRouter({ agentUrl, token, delayMs: () => random.below(10) });
  t.after(() => watching.close());
  await stack.call('apps.apply', {
    apps: apps.map((name, index) => ({
      name,
      path: `/${name}`,
      source: testAppFolder,
      // Calls in flight are lost when it is asked to end.
      env: { LEDGER: ledger, ABRUPT: '1' },
      // Both ways of counting a call.
      config: { container: { idle_shutdown_secs: idleSecs, idle_bytes_high_watermark: index % 2 === 0 ? 0 : 1_500 } },
    })),
  });

  const beganMs = performance.now();
  const { ids, failures, drawn } = await runCycles({ apps, cycles, routerUrls, watching, random });
  const secs = ((performance.now() - beganMs) / 1_000).toFixed(1);
  t.diagnostic(
    `${ids.length} calls in ${secs} s; made ${JSON.stringify(watching.counts)}; drawn ${JSON.stringify(drawn)}`,
  );

  assert.deepEqual(failures, []);
  const entered = (await readFile(ledger, 'utf8')).split('\n').filter((line) => line !== '');
  assert.deepEqual(entered.toSorted(), ids.toSorted(), 'each call reached the app once');
  for (const step of steps) assert.ok(watching.counts[step] > 0, `the step ${step} was never made`);
});
