/** Promises of pin and start where they fail or are cancelled: code, phase, last log lines, and nothing left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VersionRun } from '../../agent/platform/platform.ts';
import { until } from '../../shared/wait/testing/until.ts';
import type { AppError } from '../../shared/errors.ts';
import { appSpec } from '../../shared/protocol/app-spec.ts';
import { call, createBench, failureOf, startOptions, type Bench, type ContractOptions } from './ground.ts';

export function failurePromises(options: ContractOptions): void {
  const { deadlines } = options;

  async function nothingRuns(bench: Bench, run: VersionRun): Promise<void> {
    assert.equal(bench.platform.targets(run.app, run.version).length, 0);
    await until(async () => (await bench.running(run.app)) === 0, 'nothing of it runs', { withinMs: deadlines.stopMs });
  }

  function logsOf(error: AppError): string[] {
    const logs = error.data?.['logs'];
    assert.ok(Array.isArray(logs), 'data.logs is there');
    assert.ok(logs.length <= 50);
    return logs.map(String);
  }

  void test('pin reports a missing image or folder', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const error = await failureOf(bench.run(app, { spec: bench.missing.spec }));
    assert.equal(error.code, bench.missing.code);
  });

  void test('what the platform does not run is refused by pin', async (t) => {
    const bench = await createBench(t, options);
    const spec = appSpec.parse({ name: 'contract-x', path: '/x', ...bench.unsupported });
    const error = await failureOf(bench.platform.pin(spec, AbortSignal.timeout(deadlines.startMs)));
    assert.equal(error.code, 'source_unsupported');
  });

  void test('an app that crashes fails with app_crashed and its last lines, long before the deadline, every time', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'crash' });
    for (let times = 0; times < 2; times += 1) {
      const beganMs = performance.now();
      const error = await failureOf(bench.platform.start(run, startOptions()));
      assert.ok(performance.now() - beganMs < deadlines.failMs, `took ${performance.now() - beganMs} ms`);
      assert.equal(error.code, 'app_crashed');
      assert.equal(error.phase, 'start');
      assert.ok(logsOf(error).some((line) => line.includes('cannot start: MODE is crash')));
      await bench.platform.stop(run.app, 1, AbortSignal.timeout(deadlines.stopMs));
      await nothingRuns(bench, run);
    }
  });

  void test('an app that never listens fails with app_not_ready and its last lines at its deadline', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'never-ready', startDeadlineSecs: 4 });
    const beganMs = performance.now();
    const error = await failureOf(bench.platform.start(run, startOptions()));
    const tookMs = performance.now() - beganMs;
    assert.ok(tookMs >= 3_900 && tookMs < 4_000 + deadlines.failMs, `took ${tookMs} ms`);
    assert.equal(error.code, 'app_not_ready');
    assert.equal(error.phase, 'start');
    assert.ok(logsOf(error).some((line) => line.includes('mode never-ready')));
    await bench.platform.stop(run.app, 1, AbortSignal.timeout(deadlines.stopMs));
    await nothingRuns(bench, run);
  });

  void test('an app that answers 503 at its health_url is not ready', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), {
      mode: 'unhealthy',
      startDeadlineSecs: 3,
      spec: { health_url: '/healthz' },
    });
    const error = await failureOf(bench.platform.start(run, startOptions()));
    assert.equal(error.code, 'app_not_ready');
    assert.equal(bench.platform.targets(run.app, 1).length, 0);
  });

  void test('a command that is not there fails with app_config_invalid', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { spec: { command: ['/no/such/command'] } });
    const error = await failureOf(bench.platform.start(run, startOptions()));
    assert.equal(error.code, 'app_config_invalid');
    assert.equal(error.phase, 'start');
    await bench.platform.stop(run.app, 1, AbortSignal.timeout(deadlines.stopMs));
    await nothingRuns(bench, run);
  });

  void test('a start that is cancelled leaves nothing once its version is stopped', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'never-ready' });
    const cancel = new AbortController();
    const started = failureOf(bench.platform.start(run, startOptions({ signal: cancel.signal })));
    await until(async () => (await bench.running(run.app)) === 1, 'it runs', { withinMs: deadlines.startMs });
    cancel.abort();
    assert.equal((await started).code, 'cancelled');
    // Not before: where apps outlive the agent, one that goes away leaves the start to its successor.
    await bench.platform.stop(run.app, 1, AbortSignal.timeout(deadlines.stopMs));
    await nothingRuns(bench, run);
  });

  void test('a start whose signal is already aborted starts nothing', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    const error = await failureOf(bench.platform.start(run, startOptions({ signal: AbortSignal.abort() })));
    assert.equal(error.code, 'cancelled');
    await nothingRuns(bench, run);
  });

  void test('one caller that cancels does not cancel the start that another waits for', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'slow', env: { DELAY_MS: '500' } });
    const cancel = new AbortController();
    const cancelled = failureOf(bench.platform.start(run, startOptions({ signal: cancel.signal })));
    const kept = bench.platform.start(run, startOptions());
    cancel.abort();
    assert.equal((await cancelled).code, 'cancelled');
    await kept;
    assert.equal((await call(bench.platform.targets(run.app, 1)[0]))['version'], '1');
  });

  void test('a version that failed does not keep the next one from running', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    await failureOf(bench.platform.start(await bench.run(app, { mode: 'crash' }), startOptions()));
    await bench.platform.start(await bench.run(app, { version: 2 }), startOptions());
    assert.equal((await call(bench.platform.targets(app, 2)[0]))['version'], '2');
  });
}
