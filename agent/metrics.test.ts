import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMetrics } from './metrics.ts';

test('builds are counted by how they ended, with their seconds, beside those that run or wait', async () => {
  const metrics = createMetrics({ current: () => undefined, images: () => ({ running: 2, queued: 5 }) });
  metrics.buildEnded('succeeded', 8);
  metrics.buildEnded('cancelled', undefined);
  const text = await metrics.registry.metrics();
  for (const line of [
    'holdfast_agent_builds{state="running"} 2',
    'holdfast_agent_builds{state="queued"} 5',
    'holdfast_agent_builds_ended_total{state="succeeded"} 1',
    'holdfast_agent_builds_ended_total{state="cancelled"} 1',
    'holdfast_agent_build_seconds_bucket{le="10",state="succeeded"} 1',
    'holdfast_agent_build_seconds_count{state="succeeded"} 1',
  ])
    assert.ok(text.includes(`${line}\n`), `${line} is not in\n${text}`);
  assert.ok(!text.includes('build_seconds_count{state="cancelled"}'));
});
