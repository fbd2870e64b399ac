/**
 * Number and duration of calls, counted in arrays, since every call passes here: the library's own histogram and counter
 * cost a call a thirtieth of its CPU time. What is shown is in the library's form.
 */
import { Counter, type Histogram, type Registry } from '@prometheus-io/client';

export interface CallMetrics {
  /** @param status 499: the client left before its answer began. */
  ended(status: number, durationMs: number): void;
}

const statuses = 1_000;

/** @param bucketsSecs upper bounds, ascending. */
export function createCallMetrics(registry: Registry, bucketsSecs: readonly number[]): CallMetrics {
  const byStatus = new Float64Array(statuses);
  const boundsMs = Float64Array.from(bucketsSecs, (bound) => bound * 1_000);
  /** Each without those below it; the last one is over all bounds. */
  const byDuration = new Float64Array(boundsMs.length + 1);
  let sumMs = 0;

  const requests: Counter<'code'> = new Counter({
    name: 'holdfast_router_requests_total',
    help: 'Calls ended, by status; 499 where the client left first.',
    labelNames: ['code'],
    registers: [registry],
    collect() {
      requests.reset();
      for (const [code, count] of byStatus.entries()) if (count > 0) requests.inc({ code: String(code) }, count);
    },
  });
  const duration = {
    name: 'holdfast_router_request_duration_seconds',
    help: 'From the head of a call to the last byte of its answer, with the time it was held.',
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
  // The registry asks for no more than this of a metric.
  registry.registerMetric({ ...duration, get, reset: () => undefined } as unknown as Histogram);

  return {
    ended(status, durationMs) {
      byStatus[status] = (byStatus[status] as number) + 1;
      sumMs += durationMs;
      let bucket = 0;
      while (bucket < boundsMs.length && durationMs > (boundsMs[bucket] as number)) bucket += 1;
      byDuration[bucket] = (byDuration[bucket] as number) + 1;
    },
  };
}
