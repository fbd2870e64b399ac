import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createManualClock } from '../../../../shared/wait/testing/manual-clock.ts';
import { testPod } from '../../../testing/kubernetes-run.ts';
import type { PodFacts } from '../picture/facts.ts';
import { Inquiry, type Finding } from './inquiry.ts';

/** What is found about a pod at the first question, and how many questions there were before it. */
async function findingOf(pod: PodFacts, world: { lines?: string[]; scaleUp?: string; answersAt?: number }) {
  const clock = createManualClock();
  const stop = new AbortController();
  let asked = 0;
  const inquiry = new Inquiry({
    reports: {
      lastLines: async () => {
        asked += 1;
        return world.lines ?? [];
      },
      scaleUp: async () => {
        asked += 1;
        return world.scaleUp;
      },
    },
    prober: { once: async ({ port }) => port === world.answersAt },
    clock,
    pods: () => [pod],
    onChange: () => stop.abort(),
  });
  const running = inquiry.run(stop.signal);
  clock.advance(1_999);
  await turn();
  const before = asked;
  clock.advance(1);
  await running;
  return { finding: inquiry.of(pod), before, asked };
}

const listener = { host: '127.0.0.1', port: 3000 };

test('nothing is asked about a pod before most apps answer', async () => {
  const { before, asked } = await findingOf(testPod({ running: true }), {});
  assert.deepEqual([before, asked], [0, 1]);
});

test('an app that says that it listens on loopback, or on a port that answers, is known to listen elsewhere', async () => {
  const pod = testPod({ running: true });
  const cases: [line: string, answersAt: number | undefined, expected: boolean | undefined][] = [
    ['listening on 127.0.0.1:3000', undefined, true],
    ['listening on 127.0.0.1:8080', undefined, true],
    ['listening on 0.0.0.0:3000', 3000, true],
    ['listening on 0.0.0.0:3000', undefined, false],
    ['listening on 0.0.0.0:9229', 9229, false],
    ['listening on 0.0.0.0:8080', undefined, undefined],
    ['loading', undefined, undefined],
  ];
  for (const [line, answersAt, expected] of cases) {
    const world = answersAt === undefined ? {} : { answersAt };
    const { finding } = await findingOf(pod, { lines: ['begins', line, 'and more'], ...world });
    assert.equal(finding?.elsewhere?.isCertain, expected, line);
  }
  const { finding } = await findingOf(pod, { lines: ['listening on 127.0.0.1:3000'] });
  assert.deepEqual(finding?.elsewhere?.listener, listener);
});

test('a pod without a node is asked for the node that is announced for it', async () => {
  const pod = testPod({ scheduled: false, unschedulable: 'Insufficient cpu' });
  const expected: Finding = { scaleUp: 'TriggeredScaleUp: yes' };
  assert.deepEqual((await findingOf(pod, { scaleUp: 'TriggeredScaleUp: yes' })).finding, expected);
  const { asked } = await findingOf(testPod({ scheduled: false }), {});
  assert.equal(asked, 0, 'the scheduler has not looked at it yet');
});
