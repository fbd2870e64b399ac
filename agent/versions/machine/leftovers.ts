/**
 * Versions of one app that may still run but are no longer served. Each is drained in a task of its own, then stopped (the live version
 * and the ones kept for a rollback) or discarded. A start of the same version reclaims it.
 */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Platform } from '../../platform/platform.ts';
import { drainVersion, type DrainVersionDeps } from './drain.ts';

interface LeftoversDeps extends DrainVersionDeps {
  readonly app: string;
  readonly platform: Pick<Platform, 'targets' | 'stop' | 'discard'>;
  /** Asked whenever leftovers are cleared. */
  readonly plan: () => ClearPlan;
  /** Ends every task: the app is deleted or the agent stops. */
  readonly signal: AbortSignal;
}

export interface ClearPlan {
  /** Versions that are served or being started. */
  readonly spared: ReadonlySet<number>;
  /** Whether the version stays at zero with its objects. Asked when it has been drained. */
  readonly isKept: (version: number) => boolean;
  /** The revision of the route that routers must know first. */
  readonly revision: number;
  /** Time for calls in flight, milliseconds. */
  readonly drainMs: number;
  /** Called when calls are left on the version. It may take the version back. */
  readonly onBusy: (version: number) => void;
}

/** A clean-up that failed is tried again after this. */
const clearAgainMs = 5_000;

interface Task {
  readonly abort: AbortController;
  done: Promise<void>;
  /** The platform is stopping the version, so it cannot be served again as it is. */
  isStopping: boolean;
}

export class Leftovers {
  readonly #deps: LeftoversDeps;
  readonly #versions = new Set<number>();
  readonly #tasks = new Map<number, Task>();
  #clearedMs = -Infinity;

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

  /** Ends what is not spared, and resolves when that is done. Failures are logged; the next call tries again. */
  async clear(): Promise<void> {
    const plan = this.#deps.plan();
    for (const version of this.#versions) {
      if (plan.spared.has(version) || this.#tasks.has(version) || this.#deps.signal.aborted) continue;
      const task: Task = { abort: new AbortController(), done: Promise.resolve(), isStopping: false };
      this.#tasks.set(version, task);
      task.done = this.#end(version, plan, task).finally(() => this.#tasks.delete(version));
    }
    await this.idle();
  }

  clearInBackground(): void {
    const { app, clock, log } = this.#deps;
    this.#clearedMs = clock.nowMs();
    this.clear().catch((err: unknown) => log.error({ err, app }, 'could not stop old versions'));
  }

  /** Tries again what has failed, unless that was done a moment ago. */
  clearAgain(): void {
    if (this.any && this.#deps.clock.nowMs() - this.#clearedMs >= clearAgainMs) this.clearInBackground();
  }

  /** Call it before a start of the version; resolves when nothing is being done to it. */
  async reclaim(version: number): Promise<void> {
    const task = this.#tasks.get(version);
    task?.abort.abort(new AppError('cancelled', 'the version is wanted again'));
    await task?.done;
    this.#versions.delete(version);
  }

  /** Call it before the version is served as it runs. @returns false when it is being stopped already: then it must be started. */
  takeBack(version: number): boolean {
    const task = this.#tasks.get(version);
    if (task?.isStopping) return false;
    task?.abort.abort(new AppError('cancelled', 'the version is served again'));
    this.#versions.delete(version);
    return true;
  }

  /** Resolves when no task is under way. */
  async idle(): Promise<void> {
    await Promise.all([...this.#tasks.values()].map((task) => task.done));
  }

  async #end(version: number, plan: ClearPlan, task: Task): Promise<void> {
    const { app, platform, log } = this.#deps;
    const { revision, drainMs } = plan;
    const signal = AbortSignal.any([task.abort.signal, this.#deps.signal]);
    try {
      const onBusy = (): void => plan.onBusy(version);
      await drainVersion(this.#deps, { app, version, revision, drainMs, onBusy }, signal);
      signal.throwIfAborted();
      task.isStopping = true;
      const isKept = plan.isKept(version);
      await (isKept ? platform.stop(app, version, signal) : platform.discard(app, version, signal));
      // A version that is not kept any longer stays on the list, to be discarded by the next call.
      if (!isKept || plan.isKept(version)) this.#versions.delete(version);
    } catch (error) {
      if (!signal.aborted)
        log.warn({ err: toAppError(error), app, version }, 'could not stop an old version; trying again later');
    }
  }
}
