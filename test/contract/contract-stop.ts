/** Promises of stop and discard, and of a start that comes in between. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../shared/wait/testing/until.ts';
import { call, createBench, startOptions, type ContractOptions } from './ground.ts';

export function stopPromises(options: ContractOptions): void {
  const { deadlines } = options;
  const soon = (): AbortSignal => AbortSignal.timeout(deadlines.stopMs);

  void test('a stopped version has no target and no instance, and starts again', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const [before] = bench.platform.targets(run.app, 1);
    await bench.platform.stop(run.app, 1, soon());
    assert.deepEqual(bench.platform.targets(run.app, 1), []);
    await until(async () => (await bench.running(run.app)) === 0, 'it ends', { withinMs: deadlines.stopMs });
    await bench.platform.start(run, startOptions());
    const [after] = bench.platform.targets(run.app, 1);
    assert.notEqual(after?.id, before?.id);
    assert.equal((await call(after))['version'], '1');
  });

  void test('stop and discard of what is stopped, or was never there, resolve', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.stop(run.app, 1, soon());
    await bench.platform.discard(run.app, 1, soon());
    await bench.platform.start(run, startOptions());
    for (let times = 0; times < 2; times += 1) await bench.platform.stop(run.app, 1, soon());
    for (let times = 0; times < 2; times += 1) await bench.platform.discard(run.app, 1, soon());
    assert.equal(
      await bench.platform.remove('contract-never-there', { volumes: true, signal: soon() }).then((r) => r.length),
      0,
    );
  });

  void test('a call in flight on a stopped target still gets its answer', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const [target] = bench.platform.targets(run.app, 1);
    const slow = call(target, '/sleep?ms=800');
    // The app writes a line when it has taken the call.
    const lines = bench.platform.logs({ app: run.app, tail: 100, follow: true }, soon());
    for await (const { line } of lines) if (line.includes('sleeping')) break;
    const stopped = bench.platform.stop(run.app, 1, soon());
    assert.equal((await slow)['slept'], 800);
    await stopped;
  });

  void test('a start right after a stop wakes the version, and what answers is a target', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    for (let times = 0; times < 3; times += 1) {
      await bench.platform.start(run, startOptions());
      const stopped = bench.platform.stop(run.app, 1, soon());
      await bench.platform.start(run, startOptions());
      await stopped;
      assert.equal((await call(bench.platform.targets(run.app, 1)[0]))['version'], '1');
    }
  });

  void test('stop of a version whose start is under way leaves nothing, and the start can still be cancelled', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'never-ready' });
    const cancel = new AbortController();
    const started = assert.rejects(bench.platform.start(run, startOptions({ signal: cancel.signal })), {
      code: 'cancelled',
    });
    await until(async () => (await bench.running(run.app)) === 1, 'it runs', { withinMs: deadlines.startMs });
    await bench.platform.stop(run.app, 1, soon());
    await until(async () => (await bench.running(run.app)) === 0, 'it ends', { withinMs: deadlines.stopMs });
    cancel.abort();
    await started;
  });

  void test('a discarded version starts again', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    await bench.platform.discard(run.app, 1, soon());
    assert.deepEqual(bench.platform.targets(run.app, 1), []);
    await until(async () => (await bench.running(run.app)) === 0, 'it ends', { withinMs: deadlines.stopMs });
    await bench.platform.start(run, startOptions());
    assert.equal((await call(bench.platform.targets(run.app, 1)[0]))['version'], '1');
  });
}
