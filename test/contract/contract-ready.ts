/** Promises of start about when an app is ready: when it answers, and not when its port is open. */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { call, createBench, failureOf, startOptions, type ContractOptions } from './ground.ts';

/** Returns a port for an app to listen on. Ports from 32768 on may be those of connections of other tests. */
const fixedPort = (): number => 20_000 + randomInt(10_000);

export function readyPromises(options: ContractOptions): void {
  const { deadlines } = options;

  for (const status of [401, 404, 426, 503]) {
    void test(`without health_url, an app that answers ${status} at / is ready`, async (t) => {
      const bench = await createBench(t, options);
      const run = await bench.run(bench.name(), { mode: 'status', env: { STATUS: String(status) } });
      await bench.platform.start(run, startOptions());
      assert.equal(bench.platform.targets(run.app, 1).length, 1);
    });
  }

  void test('an app that accepts connections and never answers is not ready, and is told so', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'mute', startDeadlineSecs: 4 });
    const error = await failureOf(bench.platform.start(run, startOptions()));
    assert.equal(error.code, 'app_not_ready');
    assert.match(error.message, /accepts connections on .* but does not answer GET \//);
    assert.equal(bench.platform.targets(run.app, 1).length, 0);
  });

  void test('an app that answers by something else than HTTP is not ready, and is told so', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'garbage', startDeadlineSecs: 3 });
    const error = await failureOf(bench.platform.start(run, startOptions()));
    assert.equal(error.code, 'app_not_ready');
    assert.match(error.message, /is not HTTP/);
    assert.equal(bench.platform.targets(run.app, 1).length, 0);
  });

  for (const host of ['127.0.0.1', '0.0.0.0']) {
    void test(`an app that listens on another port of ${host} fails within seconds, and is told which`, async (t) => {
      const bench = await createBench(t, options);
      const port = fixedPort();
      const run = await bench.run(bench.name(), { env: { LISTEN: `${host}:${port}` } });
      const beganMs = performance.now();
      const error = await failureOf(bench.platform.start(run, startOptions()));
      const tookMs = performance.now() - beganMs;
      assert.ok(tookMs < 12_000 + deadlines.failMs, `took ${tookMs} ms`);
      assert.equal(error.code, 'app_not_ready');
      assert.match(error.message, new RegExp(`listens on ${host}:${port}, not on PORT \\d+: .*set \`port = ${port}\``));
      const logs = error.data?.['logs'];
      assert.ok(Array.isArray(logs) && logs.includes(`listening on ${host}:${port}`));
    });
  }

  void test('an app that answers on another port first, and is merely slow, is waited for', async (t) => {
    const bench = await createBench(t, options);
    const env = { SIDE: String(fixedPort()), DELAY_MS: '9000' };
    const run = await bench.run(bench.name(), { mode: 'slow', env });
    await bench.platform.start(run, startOptions());
    assert.equal((await call(bench.platform.targets(run.app, 1)[0]))['version'], '1');
  });

  void test('an app whose first answer takes long is asked once, and ready when that comes', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { mode: 'slow-answer', env: { DELAY_MS: '4000' } });
    const beganMs = performance.now();
    await bench.platform.start(run, startOptions());
    assert.ok(performance.now() - beganMs >= 3_500);
    assert.equal((await call(bench.platform.targets(run.app, 1)[0], '/asked'))['asked'], 1);
  });

  void test('probes name the host of the route, for an app that answers 400 by any other', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), {
      env: { HOSTS: 'shop.example' },
      startDeadlineSecs: 20,
      spec: { path: 'shop.example/', health_url: '/healthz' },
    });
    await bench.platform.start(run, startOptions());
    const wild = await bench.run(bench.name(), {
      startDeadlineSecs: 3,
      spec: { path: '*.shop.example/', health_url: '/healthz' },
      env: { HOSTS: 'shop.example' },
    });
    const error = await failureOf(bench.platform.start(wild, startOptions()));
    assert.match(error.message, /answers 400 at \/healthz/);
  });

  void test('an app that speaks HTTP/2 is ready by its SETTINGS, without a page', async (t) => {
    const bench = await createBench(t, options);
    const h2c = { protocol: 'h2c' } as const;
    const run = await bench.run(bench.name(), { env: { PROTOCOL: 'h2c' }, spec: h2c });
    await bench.platform.start(run, startOptions());
    const mute = await bench.run(bench.name(), { mode: 'mute', spec: h2c, startDeadlineSecs: 3 });
    assert.equal((await failureOf(bench.platform.start(mute, startOptions()))).code, 'app_not_ready');
  });

  void test('an app that speaks HTTP/2 without saying so is told which key is missing', async (t) => {
    const bench = await createBench(t, options);
    const run = await bench.run(bench.name(), { env: { PROTOCOL: 'h2c' }, startDeadlineSecs: 3 });
    const error = await failureOf(bench.platform.start(run, startOptions()));
    assert.match(error.message, /set `protocol = "h2c"`/);
  });
}
