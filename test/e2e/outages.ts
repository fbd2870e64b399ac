/** Parts that die or are away, under load. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as pass } from 'node:timers/promises';
import { callAtOnce, type CallRecord } from '../support/load.ts';
import { kubectl, killContainers, pods } from './cluster.ts';
import { allAnswered, apply, appFile, applied, until, urlsOf, warmLoad, type Scenario } from './scenario.ts';

/** How long a part is away; time itself is what is tested here. */
const awayMs = 60_000;

export const outages: Scenario = (release) => {
  const scale = (kind: string, replicas: number) =>
    kubectl('scale', kind, '-n', release.namespace, `--replicas=${replicas}`);
  const leader = async () => {
    const [pod] = await pods(release.namespace, 'holdfast.dev/role=leader');
    assert.ok(pod, 'no agent leads');
    return pod;
  };

  test('the leading agent is killed with -9 during a rollout: the held calls are answered', async () => {
    await applied(release, { name: 'orphan', says: '1', mode: 'slow' });
    const [url = ''] = await urlsOf(release, 'orphan');
    const held = callAtOnce(url, 100);
    await until(
      15_000,
      async () => (await release.call('apps.get', { app: 'orphan' })).state === 'starting',
      'no start',
    );
    await killContainers(await leader());
    allAnswered(await held);
    await release.settled();
  });

  test('both agents gone for 60 s: warm calls go on with no error', async (t) => {
    await applied(release, { name: 'warm', says: '1' });
    const load = await warmLoad(t, release, 'warm');
    await scale('deployment/holdfast-agent', 0);
    await until(60_000, async () => (await release.pods('agent')).length === 0, 'agents are still there');
    await pass(awayMs);
    allAnswered(await load.stop());
    await scale('deployment/holdfast-agent', 2);
    await kubectl('rollout', 'status', '-n', release.namespace, 'deployment/holdfast-agent', '--timeout=90s');
    await release.settled();
  });

  test('Postgres gone for 60 s: warm calls go on, wakes too, whenever calls come, and apply says a clear error', async (t) => {
    await applied(release, { name: 'sleeper', says: '1', config: 'container.idle_shutdown_secs = 2' });
    const [sleeper = ''] = await urlsOf(release, 'sleeper');
    allAnswered(await callAtOnce(sleeper, 1));
    const nappers: string[][] = [];
    for (const name of ['napper-1', 'napper-2', 'napper-3']) {
      await applied(release, { name, says: '1', config: 'container.idle_shutdown_secs = 1' });
      nappers.push(await urlsOf(release, name));
    }
    await applied(release, { name: 'warm', says: '1' });
    const load = await warmLoad(t, release, 'warm');
    const asleep = async () => (await release.call('apps.get', { app: 'sleeper' })).state === 'asleep';
    await until(60_000, asleep, 'the idle app does not go to zero');
    await scale('statefulset/holdfast-postgres', 0);
    const goneMs = performance.now();
    await until(60_000, async () => (await release.pods('postgres')).length === 0, 'Postgres is still there');
    allAnswered(await callAtOnce(sleeper, 5));
    const refused = await apply(release, appFile({ name: 'warm', says: '2' }));
    assert.notEqual(refused.code, 0);
    assert.match(refused.stderr, /store_unavailable.*Postgres/s);
    await until(60_000, asleep, 'the idle app does not go to zero without Postgres');
    allAnswered(await callAtOnce(sleeper, 5));
    const records = await naps(nappers, goneMs + awayMs);
    allAnswered(records);
    assert.ok(records.filter(({ held }) => held).length > nappers.length, 'they did not go to zero');
    allAnswered(await load.stop());
    await scale('statefulset/holdfast-postgres', 1);
    await kubectl('rollout', 'status', '-n', release.namespace, 'statefulset/holdfast-postgres', '--timeout=90s');
    await until(
      60_000,
      async () => (await apply(release, appFile({ name: 'warm', says: '2' }))).code === 0,
      'apply still fails',
    );
  });
};

/**
 * Calls of apps that go to zero whenever they may, at random moments around that, each through any of the routers.
 * @param apps by app, its URL at each router.
 */
async function naps(apps: readonly (readonly string[])[], untilMs: number): Promise<readonly CallRecord[]> {
  const records: CallRecord[] = [];
  const any = (urls: readonly string[]): string => urls[Math.floor(Math.random() * urls.length)] ?? '';
  await Promise.all(
    apps.map(async (urls) => {
      while (performance.now() < untilMs) {
        records.push(...(await callAtOnce(any(urls), Math.random() < 0.3 ? 3 : 1)));
        await pass(1_200 + Math.random() * 3_600);
      }
    }),
  );
  return records;
}
