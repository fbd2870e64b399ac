/** The starts of one app that are under way: of the live version, and of the pending one, which becomes live when it answers. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { EnsureProgress } from '../../../shared/protocol/methods.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import { SharedTask } from '../../../shared/wait/shared-task.ts';
import type { AppState } from './app-state.ts';
import type { Switching } from './attempt.ts';
import { startWithRetries } from './attempts.ts';
import type { Leftovers } from './leftovers.ts';
import type { EnsureRequest, EnsureResult, MachineDeps } from './machine-deps.ts';
import type { StableAddress } from './stable-address.ts';

/** How the machine reacts to the end of a start. */
export interface StartOutcomes {
  /** Whether calls get the live version now. */
  isServing(): boolean;
  promotePending(): void;
  answered(version: number, timings: StartTimings, switching: Switching): void;
  pendingFailed(version: number, error: AppError): void;
  liveFailed(version: number, error: AppError): void;
}

interface StartsDeps extends Pick<MachineDeps, 'platform' | 'metrics' | 'onChange' | 'clock' | 'log'> {
  readonly state: AppState;
  readonly leftovers: Leftovers;
  readonly address: StableAddress;
  readonly outcomes: StartOutcomes;
}

/** A start belongs to the machine: callers come and go, and one that leaves does not end it. */
interface StartJob {
  readonly version: number;
  readonly task: SharedTask<StartTimings, EnsureProgress>;
}

export class Starts {
  readonly #deps: StartsDeps;
  #live: StartJob | undefined;
  #pending: StartJob | undefined;

  constructor(deps: StartsDeps) {
    this.#deps = deps;
  }

  get hasLive(): boolean {
    return this.#live !== undefined;
  }

  get hasAny(): boolean {
    return this.#live !== undefined || this.#pending !== undefined;
  }

  /** The versions that are being started. */
  get versions(): number[] {
    return [this.#live, this.#pending].flatMap((job) => job?.version ?? []);
  }

  /** Starts the version unless that is under way, and waits for it. @throws AppError of the start; cancelled for a caller that leaves. */
  async joinPending(version: number, request: EnsureRequest): Promise<EnsureResult> {
    return await this.#join((this.#pending ??= this.#begin(version, [])), request);
  }

  /** Waits for the start of the live version. */
  async joinLive(request: EnsureRequest): Promise<EnsureResult> {
    if (!this.#live) throw new AppError('internal', 'no start of the live version is under way');
    return await this.#join(this.#live, request);
  }

  beginLive(version: number, suspects: readonly string[]): void {
    this.#live = this.#begin(version, suspects);
  }

  beginPending(version: number): void {
    this.#pending = this.#begin(version, []);
  }

  /** The pending version is the live one from now on, and so is its start. */
  promote(): void {
    this.cutLive();
    this.#live = this.#pending;
    this.#pending = undefined;
  }

  /** Ends the start of the live version, because a newer one is wanted. */
  cutLive(): void {
    this.#cut(this.#live);
    this.#live = undefined;
  }

  /** Ends the start of the pending version unless it is this one. */
  cutPendingUnless(version: number | null): void {
    if (!this.#pending || this.#pending.version === version) return;
    this.#cut(this.#pending);
    this.#pending = undefined;
  }

  /** Ends both; resolves when they have ended. */
  async end(reason: AppError): Promise<void> {
    const jobs = [this.#live, this.#pending].filter((job) => job !== undefined);
    await Promise.all(jobs.map(({ task }) => task.abort(reason)));
  }

  #begin(version: number, suspects: readonly string[]): StartJob {
    const job: StartJob = {
      version,
      task: new SharedTask((signal) => this.#run(job, suspects, signal), { owner: 'creator' }),
    };
    return job;
  }

  async #join({ version, task }: StartJob, request: EnsureRequest): Promise<EnsureResult> {
    const { platform, state } = this.#deps;
    const timings = await task.join(request.signal, request.onProgress);
    return { version, targets: platform.targets(state.record.name, version).length, timings };
  }

  async #run(job: StartJob, suspects: readonly string[], signal: AbortSignal): Promise<StartTimings> {
    const { state, leftovers, outcomes, onChange } = this.#deps;
    const { version } = job;
    try {
      const switching = await this.#clearTheWay(job, signal);
      const timings = await startWithRetries(this.#deps, {
        version,
        switching,
        suspects,
        signal,
        onPhase: (phase, message, queue) =>
          job.task.progress({ app: state.record.name, version, phase, message, ...(queue && { queue }) }),
      });
      if (this.#pending === job) outcomes.promotePending();
      this.#live = undefined;
      outcomes.answered(version, timings, switching);
      return timings;
    } catch (error) {
      if (signal.aborted) {
        leftovers.add(version); // the version may run by now
        onChange(state.record.name);
        throw toAppError(signal.reason);
      }
      if (this.#pending === job) {
        this.#pending = undefined;
        outcomes.pendingFailed(version, toAppError(error));
      } else {
        this.#live = undefined;
        outcomes.liveFailed(version, toAppError(error));
      }
      throw error;
    }
  }

  /** Ends what would be in the way of the start. @returns when the start has to switch the stable address. */
  async #clearTheWay(job: StartJob, signal: AbortSignal): Promise<Switching> {
    const { state, leftovers, address, outcomes } = this.#deps;
    await leftovers.reclaim(job.version);
    signal.throwIfAborted();
    const { spec, config } = state.run(job.version);
    // A volume has one writer: the old version ends before the new one starts.
    if (spec.volumes.length > 0) await leftovers.clear();
    signal.throwIfAborted();
    // While the live version is served, the address stays with it.
    const isHeld = this.#live === job && !outcomes.isServing();
    if (!isHeld || !config.kubernetes.strict_version_check) return 'after';
    address.unfollow();
    return 'before';
  }

  #cut(job: StartJob | undefined): void {
    if (!job) return;
    const { state, leftovers } = this.#deps;
    const message = `a newer version of ${state.record.name} than ${job.version} is wanted`;
    void job.task.abort(new AppError('superseded', message));
    leftovers.add(job.version);
  }
}
