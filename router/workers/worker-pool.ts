/** The worker processes: started together, restarted one by one with backoff, and drained or killed together. */
import cluster from 'node:cluster';
import type { Registry } from '@prometheus-io/client';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { backoff, type Backoff } from '../../shared/wait/backoff.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { indexVariable, lateVariable } from './messages.ts';
import { WorkerMetrics } from './worker-metrics.ts';
import { WorkerProcess } from './worker-process.ts';

export interface WorkerPoolDeps {
  readonly workers: number;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Ports {
  readonly port: number;
  readonly tlsPort: number | undefined;
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
/** Added to the time that the drain of a worker may take. */
const sparedMs = 5_000;

export class WorkerPool {
  readonly metrics: WorkerMetrics;
  readonly #deps: WorkerPoolDeps;
  readonly #slots: readonly Slot[];
  #ending = false;
  /** Defined from `start` until all workers take calls: a worker that ends before makes the start fail. */
  #starting: PromiseWithResolvers<Ports> | undefined;

  constructor(deps: WorkerPoolDeps) {
    this.#deps = deps;
    this.#slots = Array.from({ length: deps.workers }, (_, index) => ({
      index,
      pauses: backoff({ minMs: 100, maxMs: 10_000 }),
      process: undefined,
      sinceMs: 0,
      cancelRestart: undefined,
    }));
    this.metrics = new WorkerMetrics(deps.registry, () => this.running());
  }

  /** The workers are drained or killed, and none is started again. */
  get ending(): boolean {
    return this.#ending;
  }

  running(): WorkerProcess[] {
    return this.#slots.flatMap(({ process }) => process ?? []);
  }

  /** Resolves when all workers listen. Rejects if one ends before, or after a minute; `kill` then ends the others. */
  async start(): Promise<Ports> {
    cluster.schedulingPolicy = cluster.SCHED_NONE;
    cluster.setupPrimary({ serialization: 'json' });
    const starting = Promise.withResolvers<Ports>();
    this.#starting = starting;
    for (const slot of this.#slots) this.#fork(slot, false);
    const cancel = this.#deps.clock.after(startWithinMs, () => {
      starting.reject(new AppError('internal', 'the workers did not start within a minute'));
    });
    return await starting.promise.finally(cancel);
  }

  /** Lets the workers finish their calls, for `withinMs` and a little more. */
  async drain(withinMs: number): Promise<void> {
    this.#end();
    for (const process of this.running()) process.drain();
    await this.#allGone(withinMs + sparedMs);
  }

  async kill(): Promise<void> {
    this.#end();
    for (const process of this.running()) process.kill();
    await this.#allGone(sparedMs);
  }

  #end(): void {
    this.#ending = true;
    for (const { cancelRestart } of this.#slots) cancelRestart?.();
  }

  /** Resolves when no worker is left, or after `withinMs`. */
  async #allGone(withinMs: number): Promise<void> {
    const gone = new AbortController();
    void Promise.all(this.running().map(({ exited }) => exited)).then(() => gone.abort());
    await sleep(this.#deps.clock, withinMs, gone.signal);
  }

  #fork(slot: Slot, late: boolean): void {
    const { clock, log } = this.#deps;
    const worker = cluster.fork({ [indexVariable]: String(slot.index), [lateVariable]: late ? '1' : '' });
    slot.sinceMs = clock.nowMs();
    const process: WorkerProcess = new WorkerProcess({
      worker,
      clock,
      onListening: (ports) => {
        log.info({ worker: slot.index + 1, pid: process.pid }, 'worker listens');
        if (!this.#slots.every((each) => each.process?.listening === true)) return;
        this.#starting?.resolve(ports);
        this.#starting = undefined;
      },
      onSilent: () => log.error({ worker: slot.index + 1, pid: process.pid }, 'worker does not respond and is killed'),
      onExit: (how) => {
        slot.process = undefined;
        void this.metrics.retire(process);
        if (this.#starting !== undefined)
          this.#starting.reject(
            new AppError('internal', `worker ${slot.index + 1} ended during the start with ${how}`),
          );
        else if (!this.#ending) this.#restart(slot, how);
      },
    });
    slot.process = process;
  }

  #restart(slot: Slot, how: string): void {
    const { clock, log } = this.#deps;
    if (clock.nowMs() - slot.sinceMs >= soundMs) slot.pauses.reset();
    const pauseMs = slot.pauses.next();
    log.warn({ worker: slot.index + 1, how, againInMs: Math.round(pauseMs) }, 'worker ended');
    slot.cancelRestart = clock.after(pauseMs, () => {
      this.metrics.restarted();
      this.#fork(slot, true);
    });
  }
}
