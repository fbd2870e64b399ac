import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Histogram, Registry } from '@prometheus-io/client';
import { createCallMetrics } from './call-metrics.ts';

test('durations are shown as the library shows them, and calls by status', async () => {
  const buckets = [0.001, 0.01, 0.1, 1];
  const ours = new Registry();
  const theirs = new Registry();
  const calls = createCallMetrics(ours, buckets);
  const histogram = new Histogram({
    name: 'holdfast_router_request_duration_seconds',
    help: 'Time from the head of a call to the last byte of its answer, including the time it was held.',
    buckets,
    registers: [theirs],
  });
  for (const durationMs of [0, 1, 1.5, 10, 50, 100, 999, 1_000, 1_001, 60_000]) {
    calls.ended(durationMs > 1_000 ? 504 : 200, durationMs);
    histogram.observe(durationMs / 1_000);
  }
  const shown = await ours.metrics();
  const expected = await theirs.metrics();
  assert.ok(shown.includes(expected.trim()), `${shown}\nhas not\n${expected}`);
  assert.match(shown, /holdfast_router_requests_total\{code="200"\} 8\n/);
  assert.match(shown, /holdfast_router_requests_total\{code="504"\} 2\n/);
  // Asked again, it is the same.
  assert.equal(await ours.metrics(), shown);
  // Registered by hand, the histogram must go through everything that the router does with a registry.
  const twice = async (registry: Registry): Promise<string> => {
    const json = await registry.getMetricsAsJSON();
    return await Registry.aggregate([json, JSON.parse(JSON.stringify(json)) as typeof json]).metrics();
  };
  const sum = await twice(theirs);
  assert.ok((await twice(ours)).includes(sum.trim()), `the sum of two workers has not\n${sum}`);
  assert.ok(ours.getSingleMetric('holdfast_router_request_duration_seconds'));
});
