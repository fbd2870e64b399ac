import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProbeOutcome } from '../../../../shared/net/http-probe.ts';
import type { PodFacts } from '../picture/facts.ts';
import type { ProbeAddress } from './probe.ts';
import { createTargets } from './targets.ts';
import { testPod } from '../../../testing/kubernetes-run.ts';

/** A prober whose pods answer when the test says so. */
function setUp() {
  const waiting = new Map<string, (outcome: ProbeOutcome) => void>();
  let refuses = false;
  const targets = createTargets({
    prober: {
      watch({ host }: ProbeAddress, onOutcome) {
        waiting.set(host, onOutcome);
        return () => waiting.delete(host);
      },
      once: () => Promise.resolve(!refuses),
      close: () => Promise.resolve(),
    },
  });
  const changes: number[] = [];
  targets.onChange((app, version) => changes.push(targets.of(app, version).length));
  return {
    targets,
    changes,
    see: (facts: Partial<PodFacts> = {}) => targets.take({ type: 'set', name: 'a', value: testPod(facts) }),
    gone: () => targets.take({ type: 'gone', name: 'a', value: testPod() }),
    isProbed: (host = '10.0.0.1') => waiting.has(host),
    answer: (host = '10.0.0.1') => {
      const told = waiting.get(host);
      waiting.delete(host);
      told?.({ kind: 'ready' });
    },
    failProbe: (outcome: ProbeOutcome, host = '10.0.0.1') => waiting.get(host)?.(outcome),
    refuse: () => (refuses = true),
    ids: () => targets.of('hello', 1).map(({ id }) => id),
  };
}

test('a pod is probed from the moment its address is known, and a target once it answers', () => {
  const { see, isProbed, answer, targets, changes } = setUp();
  see({ ip: undefined });
  assert.equal(isProbed(), false);
  see();
  assert.equal(isProbed(), true);
  assert.deepEqual(targets.of('hello', 1), []);
  answer();
  assert.deepEqual(targets.of('hello', 1), [{ id: 'uid-a', host: '10.0.0.1', port: 8080 }]);
  assert.deepEqual(targets.of('hello', 2), []);
  assert.deepEqual(changes, [1]);
});

test('what the last probe of a pod saw is kept until it is probed afresh', () => {
  const { see, failProbe, targets, ids } = setUp();
  see();
  assert.equal(targets.outcomeOf('hello', 'uid-a'), undefined);
  failProbe({ kind: 'silent' });
  assert.deepEqual(targets.outcomeOf('hello', 'uid-a'), { kind: 'silent' });
  assert.deepEqual(ids(), []);
  see({ ip: '10.0.0.2' });
  assert.equal(targets.outcomeOf('hello', 'uid-a'), undefined);
});

test('what the kubelet tells late does not take an answering pod away', () => {
  const { see, answer, ids } = setUp();
  see();
  answer();
  see({ running: true });
  see({ running: true, ready: true });
  assert.deepEqual(ids(), ['uid-a']);
});

const leavers: readonly (readonly [string, Partial<PodFacts>])[] = [
  ['is being deleted', { leaving: true, ready: true }],
  ['is not ready any more', { ready: false }],
  ['has ended', { ready: true, exits: 1 }],
];
for (const [what, facts] of leavers) {
  test(`a pod that ${what} leaves at once`, () => {
    const { see, answer, ids, isProbed, changes } = setUp();
    see({ ready: true });
    answer();
    see(facts);
    assert.deepEqual(ids(), []);
    assert.equal(isProbed(), facts.leaving !== true, 'it may come back unless it is being deleted');
    assert.deepEqual(changes, [1, 0]);
  });
}

test('a container that was started again is another target', () => {
  const { see, answer, ids } = setUp();
  see();
  answer();
  see({ exits: 1 });
  answer();
  assert.deepEqual(ids(), ['uid-a-1']);
});

test('a pod that is gone is neither target nor probed', () => {
  const { see, answer, gone, ids, isProbed } = setUp();
  see();
  gone();
  assert.equal(isProbed(), false);
  see();
  answer();
  gone();
  assert.deepEqual(ids(), []);
});

test('a suspect that refuses leaves and is probed again; one that answers stays', async () => {
  const { see, answer, ids, isProbed, targets, refuse, changes } = setUp();
  see();
  answer();
  const { signal } = new AbortController();
  await targets.verify('hello', 1, ['uid-a'], signal);
  assert.deepEqual(ids(), ['uid-a']);
  refuse();
  await targets.verify('hello', 1, ['another'], signal);
  assert.deepEqual(ids(), ['uid-a']);
  await targets.verify('hello', 1, ['uid-a'], signal);
  assert.deepEqual(ids(), []);
  assert.equal(isProbed(), true);
  assert.deepEqual(changes, [1, 0]);
});

test('retired pods are no targets, those that come later are', () => {
  const { see, answer, ids, targets } = setUp();
  see();
  answer();
  targets.retire('hello', 1);
  assert.deepEqual(ids(), []);
  see({ ready: true });
  answer();
  assert.deepEqual(ids(), []);
  see({ uid: 'uid-b', name: 'b', ip: '10.0.0.2' });
  answer('10.0.0.2');
  assert.deepEqual(ids(), ['uid-b']);
  targets.unretire('hello', 1);
  answer();
  assert.deepEqual(ids(), ['uid-a', 'uid-b']);
});
