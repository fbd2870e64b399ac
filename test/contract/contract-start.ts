/** Promises of pin, start, targets, onTargets and switchTo. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { call, createBench, startOptions, untilTargets, type ContractOptions } from './ground.ts';

export function startPromises(options: ContractOptions): void {
  const { deadlines } = options;

  void test('nothing runs until start, and start resolves when the app answers at a target', async (t) => {
    const bench = await createBench(t, options);
    const { platform } = bench;
    const run = await bench.run(bench.name());
    assert.equal(platform.targets(run.app, 1).length, 0);
    assert.equal(await bench.running(run.app), 0);
    await platform.start(run, startOptions());
    const [target] = platform.targets(run.app, 1);
    assert.equal((await call(target))['version'], '1');
    assert.equal(await bench.running(run.app), 1);
  });

  void test('start of a version that runs resolves and changes nothing', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const before = bench.platform.targets(run.app, 1);
    const pid = (await call(before[0]))['pid'];
    for (let times = 0; times < 3; times += 1) await bench.platform.start(run, startOptions());
    assert.deepEqual(bench.platform.targets(run.app, 1), before);
    assert.equal((await call(before[0]))['pid'], pid);
  });

  void test('many starts at once start the version once', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await Promise.all(Array.from({ length: 20 }, () => bench.platform.start(run, startOptions())));
    assert.equal(bench.platform.targets(run.app, 1).length, 1);
    assert.equal(await bench.running(run.app), 1);
  });

  void test('an app that starts slowly is no target before it answers, and start tells its phase', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'slow', env: { DELAY_MS: '700' } });
    const phases: string[] = [];
    const seen: number[] = [];
    t.after(bench.platform.onTargets((app, version) => seen.push(bench.platform.targets(app, version).length)));
    const beganMs = performance.now();
    await bench.platform.start(run, startOptions({ onPhase: (phase) => phases.push(phase) }));
    assert.ok(performance.now() - beganMs >= 700);
    assert.equal((await call(bench.platform.targets(run.app, 1)[0]))['version'], '1');
    assert.ok(phases.includes('start'), `phases: ${phases.join(', ')}`);
    assert.deepEqual(seen.filter((count) => count > 0).length > 0, true, 'onTargets was called with the target there');
  });

  void test('health_url is waited for, and any 2xx or 3xx is an answer', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { spec: { health_url: '/healthz' } });
    await bench.platform.start(run, startOptions());
    assert.equal(bench.platform.targets(run.app, 1).length, 1);
  });

  void test('the app gets its environment, its secrets and who it is', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const run = await bench.run(app, {
      version: 7,
      env: { GREETING: 'hello there', 'WITH.DOT': 'yes' },
      spec: { secrets: { API_KEY: 'xyzzy "quoted" $HOME\nsecond line' } },
    });
    await bench.platform.start(run, startOptions());
    const [target] = bench.platform.targets(app, 7);
    const value = async (name: string): Promise<unknown> => (await call(target, `/env?name=${name}`))['value'];
    assert.equal(await value('GREETING'), 'hello there');
    assert.equal(await value('WITH.DOT'), 'yes');
    assert.equal(await value('API_KEY'), 'xyzzy "quoted" $HOME\nsecond line');
    assert.equal(await value('HOLDFAST_APP'), app);
    assert.equal(await value('HOLDFAST_VERSION'), '7');
    assert.equal(await value('HOLDFAST_PATH'), `/${app}`);
    assert.match(String(await value('PORT')), /^\d+$/);
  });

  void test('a command of the spec replaces that of the image or folder', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { spec: { command: ['node', 'server.js', '--inspectable'] } });
    await bench.platform.start(run, startOptions());
    assert.equal((await call(bench.platform.targets(run.app, 1)[0]))['version'], '1');
  });

  void test('the same content pins to the same thing, other content to another', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const [first, again, other] = [
      await bench.run(app),
      await bench.run(app, { version: 2 }),
      await bench.run(app, { version: 3, content: 2 }),
    ];
    assert.deepEqual(first.pin, again.pin);
    assert.notDeepEqual(first.pin, other.pin);
    assert.ok((first.pin.imageDigest ?? first.pin.sourceDigest)?.startsWith('sha256:'));
  });

  void test('two pins of the same at once are both right', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const [one, two] = await Promise.all([bench.run(app), bench.run(app)]);
    assert.deepEqual(one.pin, two.pin);
    await bench.platform.start(one, startOptions());
    assert.equal(bench.platform.targets(app, 1).length, 1);
  });

  void test('two versions of an app run side by side and each answers for itself', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const [v1, v2] = [await bench.run(app), await bench.run(app, { version: 2, content: 2 })];
    await Promise.all([bench.platform.start(v1, startOptions()), bench.platform.start(v2, startOptions())]);
    assert.equal((await call(bench.platform.targets(app, 1)[0]))['version'], '1');
    assert.equal((await call(bench.platform.targets(app, 2)[0]))['version'], '2');
    await bench.platform.discard(app, 1, AbortSignal.timeout(deadlines.stopMs));
    assert.equal(bench.platform.targets(app, 1).length, 0);
    assert.equal((await call(bench.platform.targets(app, 2)[0]))['version'], '2');
  });

  void test('switchTo resolves before its version runs, while it does, and again', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const [v1, v2] = [await bench.run(app), await bench.run(app, { version: 2 })];
    const signal = AbortSignal.timeout(deadlines.startMs);
    await bench.platform.switchTo(v1, signal);
    await bench.platform.start(v1, startOptions());
    await bench.platform.switchTo(v1, signal);
    await bench.platform.start(v2, startOptions());
    await bench.platform.switchTo(v2, signal);
    assert.equal((await call(bench.platform.targets(app, 2)[0]))['version'], '2');
  });

  void test('min_replicas copies come up', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { spec: { min_replicas: 2 } });
    await bench.platform.start(run, startOptions());
    const targets = await untilTargets(bench.platform, run, (found) => found.length === 2, deadlines.startMs);
    assert.equal(new Set(targets.map((target) => target.id)).size, 2);
  });

  void test('a suspect that answers is trusted again', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const [target] = bench.platform.targets(run.app, 1);
    assert.ok(target);
    await bench.platform.start(run, startOptions({ suspects: [target.id, 'never-heard-of'] }));
    assert.deepEqual(bench.platform.targets(run.app, 1), [target]);
  });

  void test('an instance that dies is no target any more and is replaced under another id', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const [before] = bench.platform.targets(run.app, 1);
    assert.ok(before);
    await call(before, '/exit');
    const isNew = ({ id }: { id: string }): boolean => id !== before.id;
    const [after] = await untilTargets(bench.platform, run, (found) => found.some(isNew), deadlines.startMs);
    assert.equal(bench.platform.targets(run.app, 1).length, 1);
    assert.equal((await call(after))['version'], '1');
  });

  void test('a listener is called when the targets are already changed, and not after it unsubscribed', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    const counts: number[] = [];
    const unsubscribe = bench.platform.onTargets((app, version) => {
      if (app === run.app) counts.push(bench.platform.targets(app, version).length);
    });
    await bench.platform.start(run, startOptions());
    assert.equal(counts.at(-1), 1);
    await bench.platform.stop(run.app, 1, AbortSignal.timeout(deadlines.stopMs));
    assert.equal(counts.at(-1), 0);
    unsubscribe();
    const calls = counts.length;
    await bench.platform.start(run, startOptions());
    assert.equal(counts.length, calls);
  });
}
