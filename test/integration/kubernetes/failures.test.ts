/** Every way in which a start fails on a real cluster, and how soon it is found. */
import assert from 'node:assert/strict';
import { describe, it, before, after, type TestContext } from 'node:test';
import type { KubernetesPlatform } from '../../../agent/platform/kubernetes/platform.ts';
import type { VersionRun } from '../../../agent/platform/platform.ts';
import type { ErrorCode } from '../../../shared/error-codes.ts';
import { AppError } from '../../../shared/errors.ts';
import { openCluster, programs, runOf, startOptions, within, type Cluster } from './cluster.ts';

describe('a version that cannot run', { timeout: 300_000 }, () => {
  const afters: (() => Promise<void>)[] = [];
  let cluster: Cluster;
  let platform: KubernetesPlatform;

  before(async () => {
    cluster = await openCluster({ after: (end) => void afters.push(end as () => Promise<void>) });
    platform = cluster.platform();
  });
  after(async () => {
    for (const end of afters) await end();
  });

  async function failureOf(t: TestContext, run: VersionRun, signal = AbortSignal.timeout(60_000)) {
    const began = performance.now();
    try {
      await platform.start(run, startOptions({ signal }));
    } catch (error) {
      const tookMs = performance.now() - began;
      assert(error instanceof AppError, String(error));
      t.diagnostic(`${error.code} after ${tookMs.toFixed(0)} ms: ${error.message.slice(0, 200)}`);
      const logs = (error.data?.['logs'] ?? []) as readonly string[];
      return { code: error.code, phase: error.phase, message: error.message, logs, tookMs };
    } finally {
      await platform.discard(run.app, run.version, within(10_000));
    }
    return assert.fail('it started');
  }

  async function failsAs(t: TestContext, run: VersionRun, code: ErrorCode, withinMs = 15_000) {
    const failure = await failureOf(t, run);
    assert.equal(failure.code, code, failure.message);
    assert.ok(failure.tookMs < withinMs, `found after ${failure.tookMs.toFixed(0)} ms`);
    return failure;
  }

  it('that crashes fails with its exit code and last lines, not waiting for the back-off to grow', async (t) => {
    const { message, logs, phase } = await failsAs(
      t,
      runOf({ name: 'crash', command: ['node', '-e', programs.crashes] }),
      'app_crashed',
      10_000,
    );
    assert.match(message, /exit code 3/);
    assert.deepEqual(logs, ['first line', 'cannot open the database']);
    assert.equal(phase, 'start');
  });

  it('that uses more memory than its limit is told so', async (t) => {
    const run = runOf({ name: 'oom', memory: '64Mi', command: ['node', '-e', programs.eatsMemory] });
    const { message } = await failsAs(t, run, 'app_crashed');
    assert.match(message, /memory/);
  });

  it('whose image does not exist fails as image_not_found', async (t) => {
    const { phase } = await failsAs(t, runOf({ name: 'noimage', image: 'nothing-here:9' }), 'image_not_found');
    assert.equal(phase, 'pull');
  });

  it('whose command does not exist fails as app_config_invalid', async (t) => {
    const { message } = await failsAs(
      t,
      runOf({ name: 'nocommand', command: ['/no/such/command'] }),
      'app_config_invalid',
    );
    assert.match(message, /no such file/);
  });

  it('that runs as root where that is refused fails as app_config_invalid', async (t) => {
    const run = runOf({ name: 'root', config: { kubernetes: { run_as_non_root: true } } });
    const { message } = await failsAs(t, run, 'app_config_invalid');
    assert.match(message, /root/);
  });

  it('that no node has room for fails after its grace', async (t) => {
    const run = runOf({ name: 'huge', cpus: '900', config: { kubernetes: { unschedulable_grace_secs: 2 } } });
    const { message, phase } = await failsAs(t, run, 'unschedulable');
    assert.match(message, /Insufficient cpu/);
    assert.equal(phase, 'schedule');
  });

  it('that never answers fails at its start deadline, with its lines', async (t) => {
    const run = runOf({
      name: 'mute',
      command: ['node', '-e', programs.neverReady],
      config: { container: { start_deadline_secs: 3 } },
    });
    const { logs, tookMs } = await failsAs(t, run, 'app_not_ready');
    assert.ok(tookMs >= 3_000);
    assert.deepEqual(logs, ['waiting for nothing']);
  });

  it('whose health_url answers 404 fails at its start deadline', async (t) => {
    const program = `require('http').createServer((q, s) => { s.statusCode = 404; s.end() }).listen(process.env.PORT)`;
    const run = runOf({
      name: 'ill',
      health_url: '/healthz',
      command: ['node', '-e', program],
      config: { container: { start_deadline_secs: 2 } },
    });
    const { message } = await failsAs(t, run, 'app_not_ready');
    assert.match(message, /healthz/);
  });

  it('whose manifest the API server refuses fails at once', async (t) => {
    const run = runOf({ name: 'refused', memory: '64Mi', cpus: '1' });
    const bad = { ...run, spec: { ...run.spec, port: 99_999 } };
    await failsAs(t, bad, 'app_config_invalid', 2_000);
  });

  it('for which a quota leaves no room fails as quota_exceeded, and starts once there is room', async (t) => {
    const quotas = `/api/v1/namespaces/${cluster.namespace}/resourcequotas`;
    await cluster.create(quotas, { metadata: { name: 'none' }, spec: { hard: { pods: '0' } } });
    const run = runOf({ name: 'quota' });
    await failsAs(t, run, 'quota_exceeded');
    await cluster.delete(`${quotas}/none`);
    await platform.start(run, startOptions());
    assert.equal(platform.targets('quota', 1).length, 1);
    await platform.discard('quota', 1, within(10_000));
  });

  it('whose pods break the pod security of the namespace fails as app_config_invalid', async (t) => {
    const path = `/api/v1/namespaces/${cluster.namespace}`;
    const enforce = (level: string | null) =>
      cluster.patch(path, { metadata: { labels: { 'pod-security.kubernetes.io/enforce': level } } });
    await enforce('restricted');
    const { message } = await failsAs(t, runOf({ name: 'insecure' }), 'app_config_invalid');
    assert.match(message, /PodSecurity/);
    // What Holdfast makes is fit for baseline.
    await enforce('baseline');
    const run = runOf({ name: 'baseline' });
    await platform.start(run, startOptions());
    await platform.discard('baseline', 1, within(10_000));
    await enforce(null);
  });

  it('whose start is cancelled ends at once', async () => {
    const stop = new AbortController();
    const run = runOf({ name: 'cancelled', command: ['node', '-e', programs.neverReady] });
    const started = platform.start(
      run,
      startOptions({ signal: stop.signal, onPhase: (phase) => phase === 'pull' && stop.abort() }),
    );
    await assert.rejects(started, { code: 'cancelled' });
    await platform.discard('cancelled', 1, within(10_000));
  });
});
