import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { silentLog } from '../../../../shared/log.ts';
import { createManualClock } from '../../../../shared/wait/testing/manual-clock.ts';
import { createDesired } from '../objects/desired.ts';
import type { AppliedFacts, PodFacts } from '../picture/facts.ts';
import { deploymentName } from '../manifests/manifests.ts';
import type { ProbeAddress } from './probe.ts';
import { startVersion, type StartDeps } from './start.ts';
import { createTargets } from './targets.ts';
import { testPod, testRun } from '../../../testing/kubernetes-run.ts';

const old = { name: 'hf-hello-v1-old', uid: 'uid-old', ip: '10.0.0.1', running: true, ready: true };

/** A version that was stopped a moment ago, with a pod that still answers, and is started again as generation 3. */
async function ground(t: TestContext) {
  const clock = createManualClock();
  const run = testRun();
  const pods = new Map<string, PodFacts>();
  const listeners = new Set<() => void>();
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  const targets = createTargets({
    prober: {
      // Every pod answers at once.
      watch(_address: ProbeAddress, onOutcome) {
        queueMicrotask(() => onOutcome({ kind: 'ready' }));
        return () => undefined;
      },
      once: () => Promise.resolve(true),
      close: () => Promise.resolve(),
    },
  });
  const deployments = new Map<string, AppliedFacts>();
  const see = (pod: Partial<PodFacts>): void => {
    const value = testPod(pod);
    pods.set(value.uid, value);
    targets.take({ type: 'set', name: value.name, value });
    changed();
  };
  const observe = (observedGeneration: number): void => {
    deployments.set(deploymentName(run), { observedGeneration } as AppliedFacts);
    changed();
  };
  const deps = {
    objects: { delete: async () => true },
    desired: createDesired(),
    picture: {
      applied: { Deployment: deployments },
      podsOf: () => [...pods.values()],
      onChange(listener: () => void) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      synced: async () => undefined,
    },
    targets,
    workloads: { raise: async () => 3 },
    reports: { lastLines: async () => [], lastWarning: async () => undefined },
    log: silentLog,
    clock,
  } as unknown as StartDeps;
  see(old);
  observe(1);
  await turn();
  targets.retire('hello', 1);
  let answered = false;
  const started = startVersion(deps, run, { signal: t.signal, onPhase: () => undefined }).then(() => {
    answered = true;
  });
  await turn();
  return { clock, targets, see, observe, started, isAnswered: () => answered };
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

test('a pod that a stop has left is a target again once it has outlived the controllers that may end it still', async (t) => {
  const { clock, targets, observe, started, isAnswered } = await ground(t);
  clock.advance(5_000);
  await turn();
  assert.equal(isAnswered(), false, 'the controller has not seen the start');
  observe(3);
  await turn();
  assert.deepEqual(targets.of('hello', 1), []);
  clock.advance(300);
  await started;
  assert.deepEqual(
    targets.of('hello', 1).map(({ id }) => id),
    ['uid-old'],
  );
});

test('a pod that is being ended when the start is seen never becomes a target, and the new one is not waited with', async (t) => {
  const { clock, targets, see, observe, started, isAnswered } = await ground(t);
  observe(3);
  await turn();
  clock.advance(20);
  see({ ...old, leaving: true });
  await turn();
  assert.equal(isAnswered(), false);
  see({ name: 'hf-hello-v1-new', uid: 'uid-new', ip: '10.0.0.2' });
  await started;
  assert.deepEqual(
    targets.of('hello', 1).map(({ id }) => id),
    ['uid-new'],
  );
});
