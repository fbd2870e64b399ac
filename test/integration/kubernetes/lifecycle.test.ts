/** Start, wake, switch, stop, drift, adoption, logs and removal on a real cluster. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { KubernetesPlatform } from '../../../agent/platform/kubernetes/platform.ts';
import type { LogLine } from '../../../shared/protocol/views.ts';
import { answerOf, eventually, openCluster, programs, runOf, startOptions, within, type Cluster } from './cluster.ts';

interface Json {
  readonly metadata: { readonly name: string; readonly uid: string };
  readonly spec: Record<string, unknown>;
}

describe('the kubernetes platform', { timeout: 300_000 }, () => {
  const afters: (() => Promise<void>)[] = [];
  let cluster: Cluster;
  let platform: KubernetesPlatform;
  let apps: string;
  let core: string;

  before(async () => {
    cluster = await openCluster({ after: (end) => void afters.push(end as () => Promise<void>) });
    platform = cluster.platform();
    apps = `/apis/apps/v1/namespaces/${cluster.namespace}`;
    core = `/api/v1/namespaces/${cluster.namespace}`;
  });
  after(async () => {
    for (const end of afters) await end();
  });

  async function namesOf(path: string): Promise<string[]> {
    const { items } = await cluster.get<{ readonly items: readonly Pick<Json, 'metadata'>[] }>(path);
    return items.map(({ metadata }) => metadata.name);
  }

  /** The version that a Service leads to. */
  async function selectedBy(service: string): Promise<string | undefined> {
    const { spec } = await cluster.get<Json>(service);
    return (spec['selector'] as Record<string, string>)['holdfast.dev/version'];
  }

  async function everything(app: string): Promise<string[]> {
    const query = `?labelSelector=${encodeURIComponent(`holdfast.dev/app=${app}`)}`;
    const paths = [
      ...['deployments', 'replicasets'].map((kind) => `${apps}/${kind}`),
      ...['services', 'secrets', 'configmaps', 'pods', 'persistentvolumeclaims'].map((kind) => `${core}/${kind}`),
      `/apis/autoscaling/v2/namespaces/${cluster.namespace}/horizontalpodautoscalers`,
      `/apis/discovery.k8s.io/v1/namespaces/${cluster.namespace}/endpointslices`,
    ];
    const found = await Promise.all(
      paths.map(async (path) => (await namesOf(path + query)).map((name) => `${path.split('/').at(-1) ?? ''}/${name}`)),
    );
    return found.flat();
  }

  it('starts, stops and wakes a version, and knows it from its first answer', async (t) => {
    const run = runOf({ name: 'hello', env: { GREETING: 'hi $(PORT)' }, secrets: { KEY: 's3cret' } });
    const changes: string[] = [];
    const unsubscribe = platform.onTargets((app, version) =>
      changes.push(`${app} v${String(version)}: ${String(platform.targets(app, version).length)}`),
    );
    const began = performance.now();
    await Promise.all([platform.start(run, startOptions()), platform.switchTo(run, within(30_000))]);
    t.diagnostic(`first start: ${(performance.now() - began).toFixed(0)} ms`);
    const [target] = platform.targets('hello', 1);
    assert.ok(target);
    assert.equal(await answerOf(target), '1 /');
    const again = performance.now();
    await platform.start(run, startOptions());
    assert.ok(performance.now() - again < 20, 'a running version is nothing to wait for');

    for (let round = 1; round <= 3; round += 1) {
      await platform.stop('hello', 1, within(10_000));
      assert.deepEqual(platform.targets('hello', 1), []);
      await eventually(
        async () => (await namesOf(`${core}/pods?fieldSelector=status.phase=Running`)).length === 0,
        within(40_000),
      );
      const woken = performance.now();
      await platform.start(run, startOptions());
      t.diagnostic(`wake ${String(round)}: ${(performance.now() - woken).toFixed(0)} ms`);
    }
    unsubscribe();
    assert.equal(changes[0], 'hello v1: 1');
    assert.equal(changes[1], 'hello v1: 0');
    await platform.remove('hello', { volumes: true, signal: within(60_000) });
  });

  it('takes a version back that is started while it is being stopped', async () => {
    const run = runOf({ name: 'back' });
    await platform.start(run, startOptions());
    for (let round = 1; round <= 3; round += 1) {
      await platform.stop('back', 1, within(10_000));
      await platform.start(run, startOptions());
      const [target] = platform.targets('back', 1);
      assert.ok(target);
      assert.equal(await answerOf(target), '1 /');
    }
    await platform.remove('back', { volumes: true, signal: within(60_000) });
  });

  it('probes suspects anew and forgets those that refuse', async () => {
    // It stops listening after a call that is no probe, and goes on living.
    const program = `const s = require('http').createServer((q, r) => { r.end('x', () => q.headers['user-agent'] !== 'holdfast-probe' && s.close()); r.shouldKeepAlive = false }).listen(process.env.PORT)
      setInterval(() => {}, 1000); process.on('SIGTERM', () => process.exit(0))`;
    const run = runOf({
      name: 'suspect',
      command: ['node', '-e', program],
      config: { container: { start_deadline_secs: 2 } },
    });
    await platform.start(run, startOptions());
    const [target] = platform.targets('suspect', 1);
    assert.ok(target);
    await platform.start(run, startOptions({ suspects: [target.id] }));
    assert.deepEqual(platform.targets('suspect', 1), [target], 'it still answers');
    await answerOf(target);
    // It stops a moment after its answer, and until then the kernel accepts for it.
    const url = `http://${target.host}:${String(target.port)}/`;
    await eventually(
      () =>
        fetch(url).then(
          () => false,
          () => true,
        ),
      within(5_000),
    );
    await assert.rejects(platform.start(run, startOptions({ suspects: [target.id] })), { code: 'app_not_ready' });
    assert.deepEqual(platform.targets('suspect', 1), []);
    await platform.discard('suspect', 1, within(10_000));
  });

  it('gives an app that went down after it had answered a fresh pod', async () => {
    const program = `require('http').createServer((q, r) => { r.end('x'); if (q.url === '/die') process.exit(1) }).listen(process.env.PORT)`;
    const run = runOf({ name: 'mortal', command: ['node', '-e', program] });
    await platform.start(run, startOptions());
    const first = platform.targets('mortal', 1)[0];
    assert.ok(first);
    // Three ends in a row: the kubelet lets 20 s pass before the next try, a start does not.
    for (let death = 1; death <= 3; death += 1) {
      const [target] = platform.targets('mortal', 1);
      assert.ok(target);
      await fetch(`http://${target.host}:${String(target.port)}/die`).catch(() => undefined);
      await eventually(() => platform.targets('mortal', 1).length === 0, within(10_000));
      const began = performance.now();
      await eventually(async () => {
        // What a router's calls make the agent do.
        await platform.start(run, startOptions()).catch(() => undefined);
        return platform.targets('mortal', 1).length > 0;
      }, within(20_000));
      assert.ok(performance.now() - began < 10_000);
    }
    await platform.discard('mortal', 1, within(10_000));
  });

  it('points the Service to a version and returns when it leads to no other', async (t) => {
    const [one, two] = [runOf({ name: 'blue' }, 1), runOf({ name: 'blue' }, 2)];
    await platform.start(one, startOptions());
    await platform.switchTo(one, within(10_000));
    const { spec } = await cluster.get<Json>(`${core}/services/hf-blue`);
    const url = `http://${String(spec['clusterIP'])}/`;
    await eventually(
      async () =>
        (await fetch(url)
          .then((r) => r.text())
          .catch(() => '')) === '1 /',
      within(20_000),
    );
    await platform.start(two, startOptions());
    const began = performance.now();
    await platform.switchTo(two, within(10_000));
    t.diagnostic(`switch: ${(performance.now() - began).toFixed(0)} ms`);
    const slices = await cluster.get<unknown>(
      `/apis/discovery.k8s.io/v1/namespaces/${cluster.namespace}/endpointslices?labelSelector=kubernetes.io/service-name=hf-blue`,
    );
    assert.ok(!JSON.stringify(slices).includes('hf-blue-v1-'));
    await platform.discard('blue', 1, within(10_000));
    await eventually(
      async () =>
        (await fetch(url)
          .then((r) => r.text())
          .catch(() => '')) === '2 /',
      within(20_000),
    );
    assert.deepEqual(await namesOf(`${apps}/deployments?labelSelector=holdfast.dev/app=blue`), ['hf-blue-v2']);
    await platform.remove('blue', { volumes: true, signal: within(60_000) });
  });

  it('repairs what is edited or deleted by hand', async (t) => {
    const run = runOf({ name: 'drift', env: { A: '1' }, secrets: { B: '2' }, max_replicas: 2 });
    await Promise.all([platform.start(run, startOptions()), platform.switchTo(run, within(10_000))]);
    const deployment = `${apps}/deployments/hf-drift-v1`;
    const service = `${core}/services/hf-drift`;
    const repaired = async (what: string, look: () => Promise<boolean>): Promise<void> => {
      const began = performance.now();
      await eventually(() => look().catch(() => false), within(20_000));
      t.diagnostic(`${what}: ${(performance.now() - began).toFixed(0)} ms`);
    };
    await cluster.patch(service, { spec: { selector: { 'holdfast.dev/version': '7' } } });
    await repaired('edited Service', async () => (await selectedBy(service)) === '1');
    await cluster.delete(service);
    await repaired('deleted Service', async () => (await cluster.get<Json>(service)).metadata.name === 'hf-drift');
    await cluster.patch(deployment, { spec: { replicas: 0 } });
    await repaired(
      'Deployment scaled to zero',
      async () => (await cluster.get<Json>(deployment)).spec['replicas'] === 1,
    );
    await cluster.delete(`${core}/secrets/hf-drift-v1`);
    await repaired(
      'deleted Secret',
      async () => (await cluster.get<Json>(`${core}/secrets/hf-drift-v1`)).metadata.name !== '',
    );
    const { metadata } = await cluster.get<Json>(deployment);
    await cluster.delete(deployment);
    await repaired(
      'deleted Deployment',
      async () => (await cluster.get<Json>(deployment)).metadata.uid !== metadata.uid,
    );
    await platform.start(run, startOptions());
    const [target] = platform.targets('drift', 1);
    assert.ok(target);
    assert.equal(await answerOf(target), '1 /');
    // The number that an autoscaler has chosen is no drift.
    await cluster.patch(deployment, { spec: { replicas: 2 } });
    await eventually(() => platform.targets('drift', 1).length === 2, within(20_000));
    await platform.remove('drift', { volumes: true, signal: within(60_000) });
    assert.deepEqual(await everything('drift'), []);
  });

  it('adopts what runs after a restart, repairs it, and deletes what is not named', async (t) => {
    const kept = runOf({ name: 'kept' });
    const old = runOf({ name: 'kept' }, 2);
    const gone = runOf({ name: 'gone' });
    await Promise.all([kept, old, gone].map((run) => platform.start(run, startOptions())));
    await platform.switchTo(kept, within(10_000));
    const before = platform.targets('kept', 1);
    platform.releaseLead();
    await cluster.patch(`${core}/services/hf-kept`, { spec: { selector: { 'holdfast.dev/version': '7' } } });

    const next = cluster.platform();
    const began = performance.now();
    await next.adopt([kept, runOf({ name: 'asleep' })], within(20_000));
    t.diagnostic(`adoption: ${(performance.now() - began).toFixed(0)} ms`);
    assert.deepEqual(next.targets('kept', 1), before);
    assert.deepEqual(next.targets('asleep', 1), []);
    await eventually(async () => (await selectedBy(`${core}/services/hf-kept`)) === '1', within(10_000));
    assert.deepEqual(next.targets('kept', 1), before, 'nothing was rolled');
    await eventually(async () => (await namesOf(`${apps}/deployments`)).join() === 'hf-kept-v1', within(10_000));
    await next.stop('kept', 1, within(10_000));
    await next.remove('gone', { volumes: false, signal: within(60_000) });
    await next.remove('kept', { volumes: false, signal: within(60_000) });
    assert.deepEqual(await everything('kept'), []);
  });

  it('keeps the volume of an app through versions, a stop and a removal', async () => {
    const volumes = [{ name: 'data', path: '/data', size: '10Mi' }];
    const program = (word: string): string[] => [
      'node',
      '-e',
      `const fs = require('fs'); fs.appendFileSync('/data/log', '${word} ');
       require('http').createServer((q, s) => s.end(fs.readFileSync('/data/log'))).listen(process.env.PORT);
       process.on('SIGTERM', () => process.exit(0))`,
    ];
    const one = runOf({ name: 'stateful', volumes, command: program('one') }, 1);
    const two = runOf({ name: 'stateful', volumes, command: program('two') }, 2);
    await platform.start(one, startOptions());
    await platform.start(two, startOptions());
    assert.deepEqual(await namesOf(`${apps}/deployments?labelSelector=holdfast.dev/app=stateful`), ['hf-stateful']);
    await platform.stop('stateful', 1, within(10_000));
    await eventually(() => platform.targets('stateful', 1).length === 0, within(10_000));
    const [target] = platform.targets('stateful', 2);
    assert.ok(target, 'the end of the old version leaves the new one alone');
    assert.equal(await answerOf(target), 'one two ');
    await platform.discard('stateful', 1, within(10_000));
    assert.equal(platform.targets('stateful', 2).length, 1);
    await platform.remove('stateful', { volumes: false, signal: within(60_000) });
    assert.deepEqual(await everything('stateful'), ['persistentvolumeclaims/hf-stateful-data']);
    await platform.start(two, startOptions());
    assert.equal(await answerOf(platform.targets('stateful', 2)[0] ?? assert.fail()), 'one two two ');
    const removed = await platform.remove('stateful', { volumes: true, signal: within(60_000) });
    assert.ok(removed.includes('PersistentVolumeClaim/hf-stateful-data'));
    assert.deepEqual(await everything('stateful'), []);
  });

  it('gives the lines of all pods, and follows those that come', async () => {
    const program = `console.log('begins'); require('http').createServer((q, s) => { if (q.headers['user-agent'] !== 'holdfast-probe') console.log(q.url); s.end(); if (q.url === '/die') process.exit(1) }).listen(process.env.PORT); process.on('SIGTERM', () => process.exit(0))`;
    const run = runOf({ name: 'talks', command: ['node', '-e', program] });
    await platform.start(run, startOptions());
    const base = (): string => {
      const [target] = platform.targets('talks', 1);
      return `http://${target?.host ?? ''}:${String(target?.port)}`;
    };
    await fetch(`${base()}/one`);
    await fetch(`${base()}/two`);
    const once: string[] = [];
    for await (const { line } of platform.logs({ app: 'talks', tail: 2, follow: false }, within(10_000)))
      once.push(line);
    assert.deepEqual(once, ['/one', '/two']);

    const stop = new AbortController();
    const followed: LogLine[] = [];
    const reading = (async () => {
      for await (const line of platform.logs({ app: 'talks', version: 1, tail: 1, follow: true }, stop.signal)) {
        followed.push(line);
      }
    })();
    await eventually(() => followed.length === 1, within(10_000));
    await fetch(`${base()}/die`).catch(() => undefined);
    await eventually(() => followed.some(({ line }) => line === 'begins'), within(20_000));
    stop.abort();
    await reading;
    assert.deepEqual(
      followed.map(({ line }) => line),
      ['/two', '/die', 'begins'],
    );
    await platform.remove('talks', { volumes: false, signal: within(60_000) });
  });

  it('waits for an app that is slow to begin', async () => {
    const run = runOf({ name: 'slow', command: ['node', '-e', programs.answersLate] });
    const phases = new Set<string>();
    await platform.start(run, startOptions({ onPhase: (phase) => phases.add(phase) }));
    assert.equal(platform.targets('slow', 1).length, 1);
    assert.ok(phases.has('start'));
    await platform.discard('slow', 1, within(10_000));
  });
});
