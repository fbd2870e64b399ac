/** Promises of prepare: what a version runs is made once for all who want it, and only as long as somebody does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PrepareOptions, VersionRun } from '../../agent/platform/platform.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { AppError } from '../../shared/errors.ts';
import {
  brokenLine,
  call,
  createBench,
  startOptions,
  type Bench,
  type Buildable,
  type ContractOptions,
} from './ground.ts';

export function preparePromises(options: ContractOptions): void {
  const { deadlines } = options;

  function prepareOptions(more: Partial<PrepareOptions> = {}): PrepareOptions {
    return { signal: AbortSignal.timeout(deadlines.startMs), onPhase: () => {}, ...more };
  }

  async function runOf(bench: Bench, { spec }: Buildable, version = 1): Promise<VersionRun> {
    return await bench.run(bench.name(), { version, spec });
  }

  function untilBegun(buildable: Buildable, count: number): Promise<void> {
    return until(async () => (await buildable.begun()) === count, `it begins ${count} times`, {
      withinMs: deadlines.startMs,
    });
  }

  void test('prepare makes what the version runs, once, tells its phase, and the app starts with what it gives', async (t) => {
    const bench = await createBench(t, options);
    const buildable = await bench.buildable('good');
    const run = await runOf(bench, buildable);
    assert.equal(await buildable.begun(), 0, 'pin builds nothing');
    const phases: string[] = [];
    const preparing = bench.platform.prepare(run, prepareOptions({ onPhase: (phase) => void phases.push(phase) }));
    await untilBegun(buildable, 1);
    await buildable.letEnd();
    const pin = await preparing;
    assert.ok(phases.includes('build'), `phases: ${phases.join(', ')}`);
    assert.equal(pin.sourceDigest, run.pin.sourceDigest);
    assert.deepEqual(await bench.platform.prepare(run, prepareOptions()), pin);
    await bench.platform.start({ ...run, pin }, startOptions());
    assert.equal((await call(bench.platform.targets(run.app, 1)[0]))['version'], '1');
    assert.equal(await buildable.begun(), 1);
  });

  void test('many that want the same are one build, and one who leaves does not end it', async (t) => {
    const bench = await createBench(t, options);
    const buildable = await bench.buildable('good');
    const runs = [await runOf(bench, buildable), await runOf(bench, buildable), await runOf(bench, buildable)];
    const leave = new AbortController();
    const leaving = bench.platform.prepare(runs[0]!, prepareOptions({ signal: leave.signal }));
    const staying = Promise.all(runs.slice(1).map((run) => bench.platform.prepare(run, prepareOptions())));
    await untilBegun(buildable, 1);
    leave.abort(new AppError('superseded', 'a newer version is wanted'));
    await assert.rejects(leaving);
    await buildable.letEnd();
    const [one, two] = await staying;
    assert.deepEqual(one, two);
    assert.equal(await buildable.begun(), 1);
  });

  void test('a build that nobody wants is ended, and made again when somebody asks', async (t) => {
    const bench = await createBench(t, options);
    const buildable = await bench.buildable('good');
    const run = await runOf(bench, buildable);
    const leave = new AbortController();
    const leaving = bench.platform.prepare(run, prepareOptions({ signal: leave.signal }));
    await untilBegun(buildable, 1);
    leave.abort(new AppError('superseded', 'a newer version is wanted'));
    await assert.rejects(leaving);
    const again = bench.platform.prepare(run, prepareOptions());
    await untilBegun(buildable, 2);
    await buildable.letEnd();
    await again;
    assert.equal(await buildable.begun(), 2);
  });

  void test('a build that fails reports its last lines, and is tried again when somebody asks again', async (t) => {
    const bench = await createBench(t, options);
    const buildable = await bench.buildable('broken');
    await buildable.letEnd();
    const run = await runOf(bench, buildable);
    for (const times of [1, 2]) {
      const error = await bench.platform.prepare(run, prepareOptions()).then(
        () => assert.fail('it should have failed'),
        (thrown: unknown) => thrown,
      );
      assert.ok(error instanceof AppError, String(error));
      assert.deepEqual([error.code, error.phase], ['build_failed', 'build']);
      const logs = error.data?.['logs'];
      assert.ok(Array.isArray(logs) && logs.length <= 50 && logs.map(String).some((line) => line.includes(brokenLine)));
      assert.equal(await buildable.begun(), times);
    }
    assert.equal(bench.platform.targets(run.app, 1).length, 0);
  });
}
