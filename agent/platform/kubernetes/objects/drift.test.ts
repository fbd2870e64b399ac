import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { silentLog, type Log } from '../../../../shared/log.ts';
import { createManualClock } from '../../../../shared/wait/testing/manual-clock.ts';
import { createDesired } from './desired.ts';
import { createDrift } from './drift.ts';
import { appliedFacts, type AppliedFacts } from '../picture/facts.ts';
import { serviceOf } from '../manifests/manifests.ts';
import { testRun } from '../../../testing/kubernetes-run.ts';
import { AppliedObjects } from './applied-objects.ts';
import { Workloads } from './workloads.ts';

function setUp(t: TestContext) {
  const clock = createManualClock(0);
  const seen = new Map<string, AppliedFacts>();
  const kinds: string[] = [];
  const warnings: string[] = [];
  const log = Object.assign(Object.create(silentLog) as Log, {
    warn: (_fields: unknown, message: string) => warnings.push(message),
  });
  const informer = {
    get: (name: string) => seen.get(name),
    list: () => seen.values(),
    synced: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const desired = createDesired();
  const applied = new AppliedObjects({
    picture: {
      applied: {
        Deployment: informer,
        Service: informer,
        ConfigMap: informer,
        Secret: informer,
        HorizontalPodAutoscaler: informer,
      },
    },
    clock,
  });
  const workloads = new Workloads({
    objects: {
      apply: (manifest) => {
        kinds.push(manifest.kind);
        return Promise.resolve({ ...manifest, metadata: { ...manifest.metadata, uid: 'one' } });
      },
      scale: () => Promise.reject(new Error('not used')),
    },
    applied,
    options: { builtRepository: '', imagePullSecrets: [] },
  });
  const drift = createDrift({ desired, workloads, log, clock });
  t.after(async () => {
    const closed = drift.close();
    await clock.advanceAndSettle(0);
    await closed;
  });
  const run = testRun();
  desired.service(run);
  return {
    applied: kinds,
    warnings,
    look: async () => {
      drift.look(run.app);
      await clock.advanceAndSettle(1_000);
    },
    /** What the watch tells of the Service. */
    show: async (spec: Record<string, unknown> = {}) => {
      const manifest = serviceOf(run);
      const object = {
        ...manifest,
        metadata: { ...manifest.metadata, uid: 'one' },
        spec: { ...manifest.spec, ...spec },
      };
      const value = appliedFacts(object);
      seen.set(value.name, value);
      applied.observed('Service', { type: 'set', name: value.name, value });
      drift.look(run.app);
      await clock.advanceAndSettle(1_000);
    },
    remove: async () => {
      const [value] = seen.values();
      assert.ok(value);
      seen.clear();
      applied.observed('Service', { type: 'gone', name: value.name, value });
      drift.look(run.app);
      await clock.advanceAndSettle(1_000);
    },
  };
}

test('what this process has not applied yet is applied without a warning, once, however late the watch is', async (t) => {
  const { applied, warnings, look, show } = setUp(t);
  await look();
  await look();
  await show();
  assert.deepEqual(applied, ['Service']);
  assert.deepEqual(warnings, []);
});

test('after a failover what was edited while nobody looked is applied, and is no drift', async (t) => {
  const { applied, warnings, show } = setUp(t);
  await show({ type: 'NodePort' });
  await show();
  assert.deepEqual(applied, ['Service']);
  assert.deepEqual(warnings, []);
});

test('what somebody edits or deletes is applied again, with a warning', async (t) => {
  const { applied, warnings, look, show, remove } = setUp(t);
  await look();
  await show();
  await show({ type: 'NodePort' });
  await show();
  assert.deepEqual([applied.length, warnings.length], [2, 1]);
  await remove();
  assert.deepEqual([applied.length, warnings.length], [3, 2]);
});
