/**
 * The primary process of a router with several: it starts the workers and runs the admin server; the workers take the calls.
 *
 * Workers share one listening socket (`cluster.SCHED_NONE`), so that a free worker takes the next connection, and a worker that ends
 * loses none that waits in the queue. With a socket for each worker (SO_REUSEPORT), the kernel distributes connections by a hash,
 * whether a worker is free or not, and resets those in the queue of a worker that ends: 32 of 20,000 in a trial in which a worker
 * was killed, and none with a shared socket. If the primary accepts and hands over (`SCHED_RR`), each connection costs a message,
 * which leaves a third to a half of the connections per second, and a connection on its way to a worker that dies hangs. The price
 * of a shared socket: a burst of connections to idle workers is not spread evenly, in the worst case 23 and 9 of 32.
 */
import type { Registry } from '@prometheus-io/client';
import { startAdminServer, type AdminServer } from '../../shared/net/admin-server.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { RouterConfig } from '../config.ts';
import { WorkerPool, type Ports } from './worker-pool.ts';
import type { WorkerProcess } from './worker-process.ts';

export interface WorkersDeps {
  readonly config: RouterConfig;
  readonly workers: number;
  readonly log: Log;
  readonly registry: Registry;
}

/** Stays within the two seconds of a readiness probe. */
const readyWithinMs = 1_000;

export async function startWorkers({ config, ...deps }: WorkersDeps) {
  const pool = new WorkerPool({ ...deps, clock: systemClock });
  let admin: AdminServer | undefined;
  let ports: Ports;

  async function close(): Promise<void> {
    await pool.kill();
    await admin?.close();
  }

  try {
    ports = await pool.start();
    admin = await startAdminServer({
      host: config.listen_host,
      port: config.admin_port,
      registry: pool.metrics,
      ready: () => (pool.ending ? { ok: false, reason: 'draining' } : readiness(pool.running())),
      pages: { '/debug/targets': (query) => targetsOf(pool.running(), query) },
    });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    ...ports,
    adminPort: admin.port,
    /** Drains all workers, then closes. */
    async drain(): Promise<void> {
      if (pool.ending) return;
      await pool.drain((config.drain_delay_secs + config.drain_timeout_secs) * 1_000);
      await close();
    },
    /** Ends everything now. */
    close,
  };
}

/** The router is ready if every worker that takes calls is: a connection may come to any of them. */
async function readiness(
  workers: readonly WorkerProcess[],
): Promise<{ readonly ok: boolean; readonly reason: string }> {
  const listening = workers.filter((worker) => worker.listening);
  const answers = await Promise.all(listening.map((worker) => worker.ask('ready', readyWithinMs)));
  const silent = answers.filter((answer) => answer === undefined).length;
  if (silent === answers.length) return { ok: false, reason: 'no worker answers' };
  const unready = answers.find((answer) => answer?.ok === false);
  if (unready !== undefined) return unready;
  return { ok: true, reason: silent === 0 ? 'ok' : `ok, without ${silent} of ${answers.length} workers` };
}

async function targetsOf(workers: readonly WorkerProcess[], query: URLSearchParams): Promise<unknown> {
  const views = workers.map(async (worker) => ({
    pid: worker.pid,
    view: (await worker.ask('targets', readyWithinMs, query.toString())) ?? 'no answer',
  }));
  const all = await Promise.all(views);
  const refused = all.find(({ view }) => isRefused(view))?.view;
  if (isRefused(refused)) throw new AppError('request_invalid', refused.error);
  return { workers: all };
}

function isRefused(view: unknown): view is { readonly error: string } {
  return typeof view === 'object' && view !== null && 'error' in view;
}
