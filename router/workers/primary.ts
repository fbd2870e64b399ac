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
import cluster from 'node:cluster';
import type { Registry } from '@prometheus-io/client';
import { startAdminServer, type AdminServer } from '../../shared/net/admin-server.ts';
import { backoff, type Backoff } from '../../shared/wait/backoff.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { RouterConfig } from '../config.ts';
import { indexVariable, lateVariable } from './messages.ts';
import { WorkerMetrics } from './worker-metrics.ts';
import { WorkerProcess } from './worker-process.ts';

export interface WorkersDeps {
  readonly config: RouterConfig;
  readonly workers: number;
  readonly log: Log;
  readonly registry: Registry;
}

interface Slot {
  readonly index: number;
  readonly pauses: Backoff;
  process: WorkerProcess | undefined;
  sinceMs: number;
  cancelRestart: (() => void) | undefined;
}

const startWithinMs = 60_000;
/** A worker that ends after it has run for this long is restarted without a longer pause. */
const soundMs = 60_000;
/** Stays within the two seconds of a readiness probe. */
const readyWithinMs = 1_000;
/** Added to the time that the drain of a worker may take. */
const sparedMs = 5_000;

export async function startWorkers(deps: WorkersDeps) {
  const { config, log } = deps;
  const clock = systemClock;
  let ending = false;
  /** Defined until all workers take calls: a worker that ends before makes the start fail. */
  let starting: PromiseWithResolvers<Ports> | undefined = Promise.withResolvers<Ports>();
  const started = starting.promise;
  const slots: Slot[] = Array.from({ length: deps.workers }, (_, index) => ({
    index,
    pauses: backoff({ minMs: 100, maxMs: 10_000 }),
    process: undefined,
    sinceMs: 0,
    cancelRestart: undefined,
  }));
  const running = (): WorkerProcess[] => slots.flatMap(({ process }) => process ?? []);
  const metrics = new WorkerMetrics(deps.registry, running);

  cluster.schedulingPolicy = cluster.SCHED_NONE;
  cluster.setupPrimary({ serialization: 'json' });

  function start(slot: Slot, late: boolean): void {
    const worker = cluster.fork({ [indexVariable]: String(slot.index), [lateVariable]: late ? '1' : '' });
    slot.sinceMs = clock.nowMs();
    const process: WorkerProcess = new WorkerProcess({
      worker,
      clock,
      onListening(ports) {
        log.info({ worker: slot.index + 1, pid: process.pid }, 'worker listens');
        if (starting === undefined || !slots.every((each) => each.process?.listening === true)) return;
        starting.resolve(ports);
        starting = undefined;
      },
      onSilent: () => log.error({ worker: slot.index + 1, pid: process.pid }, 'worker does not respond and is killed'),
      onExit(how) {
        slot.process = undefined;
        void metrics.retire(process);
        if (starting !== undefined)
          starting.reject(new AppError('internal', `worker ${slot.index + 1} ended during the start with ${how}`));
        else if (!ending) restart(slot, how);
      },
    });
    slot.process = process;
  }

  function restart(slot: Slot, how: string): void {
    if (clock.nowMs() - slot.sinceMs >= soundMs) slot.pauses.reset();
    const pauseMs = slot.pauses.next();
    log.warn({ worker: slot.index + 1, how, againInMs: Math.round(pauseMs) }, 'worker ended');
    slot.cancelRestart = clock.after(pauseMs, () => {
      metrics.restarted();
      start(slot, true);
    });
  }

  async function close(): Promise<void> {
    ending = true;
    for (const { cancelRestart } of slots) cancelRestart?.();
    for (const process of running()) process.kill();
    await allGone(sparedMs);
    await admin?.close();
  }

  /** Resolves when no worker is left, or after `withinMs`. */
  async function allGone(withinMs: number): Promise<void> {
    const gone = new AbortController();
    void Promise.all(running().map(({ exited }) => exited)).then(() => gone.abort());
    await sleep(clock, withinMs, gone.signal);
  }

  let admin: AdminServer | undefined;
  let ports: Ports;
  try {
    for (const slot of slots) start(slot, false);
    const cancel = clock.after(startWithinMs, () => {
      starting?.reject(new AppError('internal', 'the workers did not start within a minute'));
    });
    ports = await started.finally(cancel);
    admin = await startAdminServer({
      host: config.listen_host,
      port: config.admin_port,
      registry: metrics,
      ready: () => (ending ? { ok: false, reason: 'draining' } : readiness(running())),
      pages: { '/debug/targets': (query) => targetsOf(running(), query) },
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
      if (ending) return;
      ending = true;
      for (const { cancelRestart } of slots) cancelRestart?.();
      for (const process of running()) process.drain();
      await allGone((config.drain_delay_secs + config.drain_timeout_secs) * 1_000 + sparedMs);
      await close();
    },
    /** Ends everything now. */
    close,
  };
}

interface Ports {
  readonly port: number;
  readonly tlsPort: number | undefined;
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
