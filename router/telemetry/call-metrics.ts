/**
 * Number and duration of calls, counted in arrays because every call passes here: the histogram and counter of the library cost a
 * call a thirtieth of its CPU time. The registry gets them in the form of the library.
 */
import { Counter, type Histogram, type Registry } from '@prometheus-io/client';

const statuses = 1_000;

/** @param bucketsSecs upper bounds, ascending. */
export function createCallMetrics(registry: Registry, bucketsSecs: readonly number[]) {
  const byStatus = new Float64Array(statuses);
  const boundsMs = Float64Array.from(bucketsSecs, (bound) => bound * 1_000);
  /** Counts by bucket, not cumulative; the last bucket is above all bounds. */
  const byDuration = new Float64Array(boundsMs.length + 1);
  let sumMs = 0;

  const requests: Counter<'code'> = new Counter({
    name: 'holdfast_router_requests_total',
    help: 'Calls that have ended, by status; 499 if the client left first.',
    labelNames: ['code'],
    registers: [registry],
    collect() {
      requests.reset();
      for (const [code, count] of byStatus.entries()) if (count > 0) requests.inc({ code: String(code) }, count);
    },
  });
  const duration = {
    name: 'holdfast_router_request_duration_seconds',
    help: 'Time from the head of a call to the last byte of its answer, including the time it was held.',
    type: 'histogram',
    aggregator: 'sum',
  };
  const get = async (): Promise<unknown> => {
    const series = (suffix: string, value: number, labels: object): object => ({
      metricName: `${duration.name}_${suffix}`,
      labels,
      value,
    });
    let count = 0;
    const values = bucketsSecs.map((le, index) => series('bucket', (count += byDuration[index] as number), { le }));
    count += byDuration[boundsMs.length] as number;
    values.push(series('bucket', count, { le: '+Inf' }), series('sum', sumMs / 1_000, {}), series('count', count, {}));
    return { ...duration, values };
  };
  // The registry needs only this of a metric; call-metrics.test.ts pins that.
  registry.registerMetric({ ...duration, get, reset: () => undefined } as unknown as Histogram);

  return {
    /** @param status 499 if the client left before its answer began. */
    ended(status: number, durationMs: number): void {
      byStatus[status] = (byStatus[status] as number) + 1;
      sumMs += durationMs;
      let bucket = 0;
      while (bucket < boundsMs.length && durationMs > (boundsMs[bucket] as number)) bucket += 1;
      byDuration[bucket] = (byDuration[bucket] as number) + 1;
    },
  };
}
