/** Promises of remove, adopt and close: what belongs to an app and who is in charge of it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../shared/wait/testing/until.ts';
import { call, createBench, startOptions, untilTargets, type ContractOptions } from './ground.ts';

export function ownershipPromises(options: ContractOptions): void {
  const { deadlines } = options;
  const soon = (): AbortSignal => AbortSignal.timeout(deadlines.stopMs);

  void test('remove ends every version of the app and says what it removed; again it removes nothing', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    for (const version of [1, 2]) await bench.platform.start(await bench.run(app, { version }), startOptions());
    const removed = await bench.platform.remove(app, { volumes: false, signal: soon() });
    assert.ok(removed.length >= 2, `removed: ${removed.join(', ')}`);
    assert.ok(
      removed.every((object) => /^[A-Z]\w*\/.+/.test(object)),
      `removed: ${removed.join(', ')}`,
    );
    assert.deepEqual([...bench.platform.targets(app, 1), ...bench.platform.targets(app, 2)], []);
    await until(async () => (await bench.running(app)) === 0, 'it ends', { withinMs: deadlines.stopMs });
    assert.deepEqual(await bench.platform.remove(app, { volumes: false, signal: soon() }), []);
  });

  void test('remove of one app leaves the others alone', async (t) => {
    const bench = await createBench(t, options);
    const [kept, gone] = [bench.name(), bench.name()];
    for (const app of [kept, gone]) await bench.platform.start(await bench.run(app), startOptions());
    const before = bench.platform.targets(kept, 1);
    await bench.platform.remove(gone, { volumes: true, signal: soon() });
    assert.deepEqual(bench.platform.targets(kept, 1), before);
    assert.equal((await call(before[0]))['version'], '1');
  });

  void test(
    'a volume survives versions and remove, until volumes are removed too',
    { skip: options.volumes ? false : 'no volumes can be made where this runs' },
    async (t) => {
      const bench = await createBench(t, options);
      const app = bench.name();
      const spec = { volumes: [{ name: 'data', path: '/data', size: '16Mi' }] };
      const write = async (version: number): Promise<unknown> => {
        const env = bench.platform.name === 'kubernetes' ? { DATA_DIR: '/data' } : {};
        await bench.platform.start(await bench.run(app, { version, env, spec }), startOptions());
        return (await call(bench.platform.targets(app, version)[0], `/data?line=v${version}`))['lines'];
      };
      assert.deepEqual(await write(1), ['v1']);
      // Starting another version of an app with a volume ends the one before: no two write at once.
      assert.deepEqual(await write(2), ['v1', 'v2']);
      assert.deepEqual(bench.platform.targets(app, 1), []);
      await bench.platform.remove(app, { volumes: false, signal: soon() });
      assert.deepEqual(await write(3), ['v1', 'v2', 'v3']);
      const removed = await bench.platform.remove(app, { volumes: true, signal: soon() });
      assert.ok(
        removed.some((object) => /^(Volume|PersistentVolumeClaim)\//.test(object)),
        removed.join(', '),
      );
      assert.deepEqual(await write(4), ['v4']);
    },
  );

  void test('another agent takes charge of the adopted versions, and removes the others', async (t) => {
    const bench = await createBench(t, options);
    const [kept, gone] = [bench.name(), bench.name()];
    const runs = [await bench.run(kept), await bench.run(gone)];
    for (const run of runs) await bench.platform.start(run, startOptions());
    await bench.platform.close();
    const [run] = runs;
    assert.ok(run);
    const successor = await bench.another();
    await successor.adopt([run], AbortSignal.timeout(deadlines.startMs));
    await until(async () => (await bench.running(gone)) === 0, 'the other is gone', { withinMs: deadlines.stopMs });
    if (options.outlivesAgent) {
      const [target] = await untilTargets(successor, run, (found) => found.length === 1, deadlines.startMs);
      assert.equal((await call(target))['version'], '1');
    }
    await successor.start(run, startOptions());
    assert.equal(successor.targets(kept, 1).length, 1);
    assert.equal((await call(successor.targets(kept, 1)[0]))['version'], '1');
    assert.equal(await bench.running(kept), 1);
  });

  void test('adopt of what already runs here changes nothing', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const before = bench.platform.targets(run.app, 1);
    await bench.platform.adopt([run], AbortSignal.timeout(deadlines.startMs));
    assert.deepEqual(bench.platform.targets(run.app, 1), before);
  });

  void test('close may be called twice, and starts nothing afterwards', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const run = await bench.run(app);
    await bench.platform.start(run, startOptions());
    await Promise.all([bench.platform.close(), bench.platform.close()]);
    await bench.platform.close();
    if (!options.outlivesAgent) assert.equal(await bench.running(app), 0);
    await assert.rejects(bench.platform.start(await runAgain(run), startOptions()));
  });

  void test('close ends the starts that are under way', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'never-ready' });
    const started = assert.rejects(bench.platform.start(run, startOptions()));
    await until(async () => (await bench.running(run.app)) === 1, 'it runs', { withinMs: deadlines.startMs });
    await bench.platform.close();
    await started;
    if (!options.outlivesAgent) assert.equal(await bench.running(run.app), 0);
  });
}

/** Another version, so that no answer can come from what still runs. */
async function runAgain<T extends { readonly version: number }>(run: T): Promise<T> {
  return { ...run, version: run.version + 1 };
}
