/** Routers and agents that are replaced, one by one and by eviction, while calls are made through the Service of the routers. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { callAtOnce, outcomes, startLoad, type Load } from '../support/load.ts';
import { kubectl, type PodView } from './cluster.ts';
import { allAnswered, applied, until, type Scenario } from './scenario.ts';
import { Conversation } from './websockets.ts';

/** Calls to each app that is not up yet; the Service spreads them over both routers. */
const heldCalls = 60;

export const rollouts: Scenario = (release) => {
  const { namespace } = release;
  const restart = (component: 'router' | 'agent'): Promise<string> =>
    kubectl('rollout', 'restart', '-n', namespace, `deployment/holdfast-${component}`);
  const complete = (component: 'router' | 'agent'): Promise<string> =>
    kubectl('rollout', 'status', '-n', namespace, `deployment/holdfast-${component}`, '--timeout=120s');
  const gone = (routers: readonly PodView[]): Promise<void> => {
    const uids = routers.map(({ metadata }) => metadata.uid);
    const path = 'jsonpath={.items[*].metadata.uid}';
    return until(
      60_000,
      async () => {
        const there = await kubectl('get', 'pods', '-n', namespace, '-o', path);
        return uids.every((uid) => !there.includes(uid));
      },
      'old routers are still there',
    );
  };
  const held = async (): Promise<number> => {
    const metrics = await Promise.all(
      (await release.routerUrls()).map(async (url) =>
        (await fetch(`${url.replace(/:8080$/, ':8081')}/metrics`)).text(),
      ),
    );
    return metrics.reduce((sum, text) => sum + Number(/^holdfast_router_held_calls (\d+)$/m.exec(text)?.[1] ?? 0), 0);
  };

  test('routers restarted under load: no call fails, held calls are answered or refused with Retry-After, WebSockets are closed with 1001', async (t) => {
    const service = await release.serviceUrl();
    const websocket = `${service.replace('http:', 'ws:')}/rolled/ws`;
    await applied(release, { name: 'rolled', says: '1' });
    await applied(release, { name: 'rolled-slow', says: '1', mode: 'slow', delayMs: 9_000 });
    await applied(release, { name: 'rolled-never', says: '1', mode: 'never-ready' });
    const loads = await serviceLoads(t, `${service}/rolled/`);
    const talks = await Promise.all(Array.from({ length: 8 }, () => Conversation.open(t, websocket)));
    const old = await release.pods('router');
    const slow = callAtOnce(`${service}/rolled-slow/`, heldCalls);
    const never = callAtOnce(`${service}/rolled-never/`, heldCalls);
    await until(15_000, async () => (await held()) === 2 * heldCalls, 'the calls are not held');
    await restart('router');
    // They go on being of use until the drain is over, and end as those of a server that goes away.
    const codes = await Promise.all(
      talks.map(async ({ talk }) => {
        await talk.echoes('while it drains');
        return await talk.closed;
      }),
    );
    assert.deepEqual(new Set(codes), new Set([1001]));
    allAnswered(await slow);
    const refused = await never;
    assert.deepEqual(outcomes(refused), { '503 router_draining': heldCalls });
    assert.deepEqual(new Set(refused.map(({ retryAfter }) => retryAfter)), new Set(['1']));
    await complete('router');
    await gone(old);
    for (const load of loads) allAnswered(await load.stop());
    const { talk } = await Conversation.open(t, websocket);
    await talk.echoes('again');
    talk.close();
    await release.cli('delete', 'rolled-never', '--yes');
    await release.settled();
  });

  test('a router evicted under load, as a node drain does: no call fails, and no second one goes before it is back', async (t) => {
    const service = await release.serviceUrl();
    const loads = await serviceLoads(t, `${service}/rolled/`);
    const [first, second] = await release.pods('router');
    assert.ok(first && second);
    await evict(first);
    await assert.rejects(evict(second), /disruption budget/);
    await gone([first]);
    await until(60_000, async () => (await release.pods('router')).length === 2, 'no new router');
    for (const load of loads) allAnswered(await load.stop());
    await release.settled();
  });

  test('agents restarted one by one while calls are held: all are answered', async () => {
    await applied(release, { name: 'rolled-agent', says: '1', mode: 'slow', delayMs: 6_000 });
    const service = await release.serviceUrl();
    const calls = callAtOnce(`${service}/rolled-agent/`, heldCalls);
    await until(15_000, async () => (await held()) === heldCalls, 'the calls are not held');
    await restart('agent');
    allAnswered(await calls);
    await complete('agent');
    await release.settled();
  });
};

/** 25 calls per second on connections that are kept, and 25 each on one of its own; answered already when this resolves. */
async function serviceLoads(t: TestContext, url: string): Promise<readonly Load[]> {
  const loads = [{}, { connection: 'close' }].map((headers) => startLoad({ urls: [url], callsPerSecond: 25, headers }));
  for (const load of loads) t.after(() => load.stop());
  await until(60_000, () => loads.every(({ records }) => records.length > 10), 'the app does not answer yet');
  return loads;
}

/** Evicts a pod as `kubectl drain` does. @throws with the API server's answer where a disruption budget forbids it. */
async function evict({ metadata: { name, namespace } }: PodView): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-e2e-'));
  try {
    const file = join(folder, 'eviction.json');
    await writeFile(file, JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } }));
    await kubectl('create', '--raw', `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, '-f', file);
  } finally {
    await rm(folder, { recursive: true });
  }
}
