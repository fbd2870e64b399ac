/** Idle and wake of pods, with calls at the worst moments. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCycles } from '../support/idle/cycles.ts';
import { createRandom } from '../support/idle/random.ts';
import { startWatchingRouter } from '../support/idle/watching-router.ts';
import { applied, until, type Scenario } from './scenario.ts';

const cycles = Number(process.env['HOLDFAST_IDLE_CYCLES'] ?? 24);
const seed = Number(process.env['HOLDFAST_IDLE_SEED'] ?? Math.floor(Math.random() * 2 ** 32));
const apps = ['drowsy', 'sleepy', 'tired', 'weary'];

export const idle: Scenario = (release) => {
  test('cycles of idle and wake with calls at the worst moments, through two routers, lose no call', async (t) => {
    t.diagnostic(`HOLDFAST_IDLE_SEED=${seed}`);
    const random = createRandom(seed);
    const config = 'container.idle_shutdown_secs = 0.2';
    for (const name of apps) await applied(release, { name, says: '1', config });
    const { agentUrl, token } = release;
    const watching = await startWatchingRouter({ agentUrl, token, delayMs: () => random.below(10) });
    t.after(() => watching.close());
    const routerUrls = await release.routerUrls();
    const { ids, failures } = await runCycles({ apps, cycles, routerUrls, watching, random });
    t.diagnostic(`${ids.length} calls; made ${JSON.stringify(watching.counts)}`);
    assert.deepEqual(failures, []);
  });

  test('an app with min_replicas runs again without a call after an update and a rollback', async () => {
    const options = { name: 'steady', keys: 'min_replicas = 1' };
    const isReady = async (version: number): Promise<boolean> => {
      const { state, liveVersion, targets, keptAwake } = await release.call('apps.get', { app: 'steady' });
      return state === 'ready' && liveVersion === version && targets === 1 && keptAwake === 'min_replicas';
    };
    await applied(release, { ...options, says: '1' });
    assert.equal((await release.call('apps.get', { app: 'steady' })).state, 'asleep');
    await release.call('versions.ensure', { app: 'steady' });
    await until(30_000, () => isReady(1), 'version 1');
    await applied(release, { ...options, says: '2' });
    await until(60_000, () => isReady(2), 'version 2');
    await release.call('versions.rollback', { app: 'steady' });
    await until(60_000, () => isReady(1), 'version 1 again');
    await release.call('apps.delete', { app: 'steady' });
  });
};
