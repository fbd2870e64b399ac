/**
 * Combines the metrics of all workers into those of one router. Counters never decrease: the last known counts of a worker stay when
 * it is gone. A worker that does not answer in time counts with its previous answer, without its gauges.
 */
import { Counter, Gauge, Registry } from '@prometheus-io/client';
import type { WorkerProcess } from './worker-process.ts';

type Snapshot = Awaited<ReturnType<Registry['getMetricsAsJSON']>>;

/** Scrapes usually time out after ten seconds. */
const answerWithinMs = 2_000;

export class WorkerMetrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #own: Registry;
  readonly #workers: () => Iterable<WorkerProcess>;
  readonly #restarts: Counter;
  readonly #running: Gauge;
  readonly #silent: Gauge;
  #retired: Snapshot = [];

  /** @param own registry of the primary. */
  constructor(own: Registry, workers: () => Iterable<WorkerProcess>) {
    this.#own = own;
    this.#workers = workers;
    const registers = [own];
    this.#restarts = new Counter({
      name: 'holdfast_router_worker_restarts_total',
      help: 'Workers that ended unexpectedly and were restarted.',
      registers,
    });
    this.#running = new Gauge({
      name: 'holdfast_router_workers',
      help: 'Workers that take calls.',
      registers,
    });
    this.#silent = new Gauge({
      name: 'holdfast_router_workers_silent',
      help: 'Workers that did not answer this scrape in time: their gauges are missing, their counters are from an earlier scrape.',
      registers,
    });
  }

  restarted(): void {
    this.#restarts.inc();
  }

  /** Keeps the counts of a worker that is gone. */
  async retire({ lastMetrics }: WorkerProcess): Promise<void> {
    const counted = Registry.aggregate([this.#retired, countersOf(lastMetrics as Snapshot)]);
    this.#retired = await counted.getMetricsAsJSON();
  }

  async metrics(): Promise<string> {
    const workers = [...this.#workers()].filter(({ listening }) => listening);
    const snapshots = await Promise.all(
      workers.map(async (worker) => {
        const answer = await worker.ask('metrics', answerWithinMs);
        if (answer === undefined) return undefined;
        worker.lastMetrics = answer;
        return answer as Snapshot;
      }),
    );
    this.#running.set(workers.length);
    this.#silent.set(snapshots.filter((snapshot) => snapshot === undefined).length);
    const own = await this.#own.getMetricsAsJSON();
    const all = snapshots.map(
      (snapshot, index) => snapshot ?? countersOf((workers[index] as WorkerProcess).lastMetrics as Snapshot),
    );
    return Registry.aggregate([...all, this.#retired, own]).metrics();
  }
}

function countersOf(snapshot: Snapshot): Snapshot {
  return snapshot.filter(({ type }) => ['counter', 'histogram', 'summary'].includes(type));
}
