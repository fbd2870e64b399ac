/**
 * Versions of one app that may still run and are no longer served. Each is taken away in its own task: routers know,
 * calls in flight end (or their time does), then it goes to zero (the live one and the one kept for a rollback) or is
 * removed. A start of the same version takes it back.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Platform } from '../platform/platform.ts';

interface LeftoversDeps {
  readonly app: string;
  readonly platform: Pick<Platform, 'targets' | 'stop' | 'discard'>;
  readonly release: (app: string, targets: readonly string[], waitMs: number, signal: AbortSignal) => Promise<number>;
  readonly log: Log;
  /** Ends every task: the app is deleted or the agent stops. */
  readonly signal: AbortSignal;
}

interface ClearPlan {
  /** Served or being started: left alone. */
  readonly spared: ReadonlySet<number>;
  /** Whether it stays at zero, with its objects. Asked when the time has come. */
  readonly isKept: (version: number) => boolean;
  /**
   * Resolves when routers send no new call to anything but what is served. With `countUnknown` that goes for routers
   * too that an earlier leader knew and that have not come back yet.
   */
  readonly settled: (countUnknown: boolean, signal: AbortSignal) => Promise<unknown>;
  /** Time for calls in flight, milliseconds. */
  readonly drainMs: number;
}

interface Task {
  readonly abort: AbortController;
  done: Promise<void>;
  /** The platform has been told: it cannot be taken back as it is. */
  ending: boolean;
}

export class Leftovers {
  readonly #deps: LeftoversDeps;
  readonly #versions = new Set<number>();
  readonly #tasks = new Map<number, Task>();

  constructor(deps: LeftoversDeps) {
    this.#deps = deps;
  }

  add(version: number): void {
    this.#versions.add(version);
  }

  /** Whether `clear` would have something to do. */
  get any(): boolean {
    return this.#versions.size > 0;
  }

  /** Begins to take away what is not spared; resolves when that is done. Failures are logged, and tried again by the next call. */
  async clear(plan: ClearPlan): Promise<void> {
    for (const version of this.#versions) {
      if (plan.spared.has(version) || this.#tasks.has(version) || this.#deps.signal.aborted) continue;
      const task: Task = { abort: new AbortController(), done: Promise.resolve(), ending: false };
      this.#tasks.set(version, task);
      task.done = this.#takeAway(version, plan, task).finally(() => this.#tasks.delete(version));
    }
    await this.idle();
  }

  /** The version is to be started; resolves when nothing is being done to it. */
  async reclaim(version: number): Promise<void> {
    const task = this.#tasks.get(version);
    task?.abort.abort(new AppError('cancelled', 'the version is wanted again'));
    await task?.done;
    this.#versions.delete(version);
  }

  /** The version is to be served as it runs. @returns false when it is being ended already: then it must be started. */
  takeBack(version: number): boolean {
    const task = this.#tasks.get(version);
    if (task?.ending) return false;
    task?.abort.abort(new AppError('cancelled', 'the version is served again'));
    this.#versions.delete(version);
    return true;
  }

  /** Resolves when no task is under way. */
  async idle(): Promise<void> {
    await Promise.all([...this.#tasks.values()].map((task) => task.done));
  }

  async #takeAway(version: number, plan: ClearPlan, task: Task): Promise<void> {
    const { app, platform, release, log } = this.#deps;
    const signal = AbortSignal.any([task.abort.signal, this.#deps.signal]);
    try {
      await plan.settled(platform.targets(app, version).length > 0, signal);
      const targets = platform.targets(app, version).map((target) => target.id);
      if (targets.length > 0) {
        const left = await release(app, targets, plan.drainMs, signal);
        if (left > 0) log.info({ app, version, left }, 'calls are still in flight at the end of update.drain_secs');
      }
      signal.throwIfAborted();
      task.ending = true;
      const kept = plan.isKept(version);
      await (kept ? platform.stop(app, version, signal) : platform.discard(app, version, signal));
      // No longer kept by now: it stays on the list, for the next time.
      if (!kept || plan.isKept(version)) this.#versions.delete(version);
    } catch (error) {
      if (!signal.aborted)
        log.warn({ err: toAppError(error), app, version }, 'a version could not be taken away; tried again later');
    }
  }
}
