/** Promises of logs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '../../shared/wait/testing/until.ts';
import type { LogLine } from '../../shared/protocol/views.ts';
import { call, collect, createBench, startOptions, type ContractOptions } from './ground.ts';

export function logPromises(options: ContractOptions): void {
  const { deadlines } = options;

  void test('logs gives the last lines of both outputs, and ends', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const [target] = bench.platform.targets(run.app, 1);
    for (let number = 1; number <= 5; number += 1) await call(target, `/log?line=line-${number}`);
    await call(target, '/log?line=to-stderr&to=stderr');
    const read = async (tail: number): Promise<LogLine[]> =>
      collect(bench.platform.logs({ app: run.app, tail, follow: false }, AbortSignal.timeout(deadlines.startMs)));
    await until(
      async () => (await read(100)).filter(({ line }) => /^line-|^to-/.test(line)).length === 6,
      'the lines arrive',
      { withinMs: deadlines.stopMs },
    );
    const lines = (await read(100)).filter(({ line }) => line.startsWith('line-'));
    assert.deepEqual(
      lines.map(({ line }) => line),
      ['line-1', 'line-2', 'line-3', 'line-4', 'line-5'],
    );
    assert.ok(lines.every(({ version, instance }) => version === 1 && instance.length > 0));
    assert.equal((await read(2)).length, 2);
    assert.equal((await read(0)).length, 0);
  });

  void test('logs of one version has no line of another', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    for (const version of [1, 2]) await bench.platform.start(await bench.run(app, { version }), startOptions());
    const versions = async (version?: number): Promise<Set<number>> => {
      const query = { app, tail: 100, follow: false, ...(version === undefined ? {} : { version }) };
      const lines = await collect(bench.platform.logs(query, AbortSignal.timeout(deadlines.startMs)));
      return new Set(lines.map((line) => line.version));
    };
    await until(async () => (await versions()).size === 2, 'lines of both', { withinMs: deadlines.stopMs });
    assert.deepEqual(await versions(2), new Set([2]));
    assert.deepEqual(await versions(3), new Set());
  });

  void test('with follow lines come as they are written, until the signal', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name());
    await bench.platform.start(run, startOptions());
    const [target] = bench.platform.targets(run.app, 1);
    const stop = new AbortController();
    t.after(() => stop.abort());
    // What the app writes at its start may still be on its way: the tail is this line once it has been seen.
    await call(target, '/log?line=zero');
    const written = { app: run.app, version: 1, tail: 1, follow: false };
    const last = async (): Promise<string | undefined> =>
      (await collect(bench.platform.logs(written, AbortSignal.timeout(deadlines.startMs)))).at(-1)?.line;
    await until(async () => (await last()) === 'zero', 'the first line is the last one written', {
      withinMs: deadlines.startMs,
    });
    const lines: string[] = [];
    const following = (async () => {
      const query = { app: run.app, version: 1, tail: 1, follow: true };
      for await (const { line } of bench.platform.logs(query, stop.signal)) lines.push(line);
    })();
    await until(() => lines.length === 1, 'the tail arrives', { withinMs: deadlines.startMs });
    for (const word of ['one', 'two', 'three']) {
      await call(target, `/log?line=${word}`);
      await until(() => lines.includes(word), `${word} arrives`, { withinMs: deadlines.startMs });
    }
    assert.deepEqual(lines, ['zero', 'one', 'two', 'three']);
    stop.abort();
    await following;
  });

  void test('logs of what never ran, or of no app, are empty', async (t) => {
    const bench = await createBench(t, options);
    const app = bench.name();
    const query = { app, tail: 10, follow: false };
    assert.deepEqual(await collect(bench.platform.logs(query, AbortSignal.timeout(deadlines.startMs))), []);
    const followed = bench.platform.logs({ ...query, follow: true }, AbortSignal.timeout(100));
    assert.deepEqual(await collect(followed), []);
  });
}
