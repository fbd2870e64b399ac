/**
 * Versions of one app that may still run and are no longer served. Each is taken away in its own task: routers know,
 * calls in flight end (or their time does), then it goes to zero (the live one and the one kept for a rollback) or is
 * removed. A start of the same version takes it back.
 */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Log } from '../../../shared/log.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { Platform } from '../../platform/platform.ts';
import type { Released } from '../../routes/router-links.ts';

interface LeftoversDeps {
  readonly app: string;
  readonly platform: Pick<Platform, 'targets' | 'stop' | 'discard'>;
  readonly release: (app: string, targets: readonly string[], waitMs: number, signal: AbortSignal) => Promise<Released>;
  readonly clock: Clock;
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
  /** Whether that holds still: a router may have come, or been lost, while the others were asked. */
  readonly isSettled: () => boolean;
  /** Time for calls in flight, milliseconds. */
  readonly drainMs: number;
  /** Calls are left on the version. @returns whether it is served again because of them (and was taken back). */
  readonly onBusy: (version: number) => boolean;
}

/** Between two rounds of asking routers, where one of them could not be asked. */
const askAgainMs = 200;

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
    const { app, platform, log } = this.#deps;
    const signal = AbortSignal.any([task.abort.signal, this.#deps.signal]);
    try {
      await this.#letGo(version, plan, signal);
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

  /** Ends when no router sends anything to the version and its calls have ended, or had their time. */
  async #letGo(version: number, plan: ClearPlan, signal: AbortSignal): Promise<void> {
    const { app, platform, release, clock, log } = this.#deps;
    let deadlineMs: number | undefined;
    for (;;) {
      await plan.settled(platform.targets(app, version).length > 0, signal);
      const targets = platform.targets(app, version).map((target) => target.id);
      if (targets.length === 0) return;
      deadlineMs ??= clock.nowMs() + plan.drainMs;
      const { left, unasked } = await release(app, targets, Math.max(0, deadlineMs - clock.nowMs()), signal);
      signal.throwIfAborted();
      if (left > 0 && plan.onBusy(version)) signal.throwIfAborted();
      if (left === 0 && unasked === 0 && plan.isSettled()) return;
      if ((left > 0 && unasked === 0) || clock.nowMs() >= deadlineMs) {
        log.info({ app, version, left, unasked }, 'calls may be in flight still at the end of update.drain_secs');
        return;
      }
      await sleep(clock, askAgainMs, signal);
    }
  }
}
