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

test('starts are observed by phase where they had one, failures and drains by how they ended', async () => {
  const { registry, versions } = createMetrics({ current: () => undefined, images: () => undefined });
  versions.started({ buildMs: null, rolloutMs: 900, scheduleMs: 60, pullMs: 600, startMs: 230 });
  versions.startFailed('app_crashed');
  for (const result of ['zero', 'zero', 'taken_back'] as const) versions.drained(result);
  const text = await registry.metrics();
  for (const line of [
    'holdfast_agent_start_phase_duration_seconds_bucket{le="1",phase="pull"} 1',
    'holdfast_agent_start_phase_duration_seconds_sum{phase="total"} 0.9',
    'holdfast_agent_start_failures_total{code="app_crashed"} 1',
    'holdfast_agent_drains_total{result="zero"} 2',
    'holdfast_agent_drains_total{result="taken_back"} 1',
  ])
    assert.ok(text.includes(`${line}\n`), `${line} is not in\n${text}`);
  assert.ok(!text.includes('phase="build"'));
});
