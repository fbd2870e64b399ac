/**
 * One app: which of its versions is meant to run, and the steps from what is to what should be. Every step is idempotent
 * and may be cut by a crash; the next leader repeats it. Postgres is written behind (outbox), never waited for.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { AppConfig } from '../../shared/protocol/app-spec.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { Route, StartTimings } from '../../shared/protocol/routes.ts';
import type { AppView, Failure, VersionView } from '../../shared/protocol/views.ts';
import type { Clock } from '../../shared/rpc/clock.ts';
import { sleep } from '../../shared/sleep.ts';
import type { Platform } from '../platform/platform.ts';
import type { Settlement } from '../routes/hub.ts';
import type { Outbox } from '../store/outbox.ts';
import type { AppRecord, VersionRecord } from '../store/records.ts';
import { AppBook, type Declared } from './app-book.ts';
import { Leftovers } from './leftovers.ts';
import { appViewOf, routeOf, versionViewOf, type Phase, type Situation } from './serving.ts';
import { StartJob, type ProgressListener } from './start-job.ts';
import { startVersion } from './start-version.ts';

export interface MachineDeps {
  readonly platform: Platform;
  readonly publish: (route: Route) => number;
  readonly settled: (revision: number, countUnknown: boolean, signal: AbortSignal) => Promise<Settlement>;
  /** Calls that routers still have on these targets after at most `waitMs`. */
  readonly release: (app: string, targets: readonly string[], waitMs: number, signal: AbortSignal) => Promise<number>;
  readonly outbox: Pick<Outbox, 'add'>;
  readonly defaults: AppConfig;
  readonly clock: Clock;
  readonly log: Log;
}

export interface EnsureRequest {
  readonly version: number | undefined;
  readonly suspects: readonly string[];
  readonly onProgress: ProgressListener;
  readonly signal: AbortSignal;
}

export interface EnsureResult {
  readonly version: number;
  readonly targets: number;
  readonly timings: StartTimings;
}

const noTimings: StartTimings = { buildMs: null, rolloutMs: null };
/** For a version that has answered before. A fault of the platform itself is tried through until the start deadline. */
const maxAttempts = 3;
const attemptPauseMs = 500;
/** After a failure without a version to return to, the next call may try again after this, doubling up to the maximum. */
const retryMinMs = 5_000;
const retryMaxMs = 60_000;
/** How long routers may take to say that an idle app is free; they know at once, this is for the way. */
const idleReleaseMs = 1_000;
/** How many versions back a new leader looks for remains of a cut clean-up. */
const sweptVersions = 10;

export class AppMachine {
  readonly #deps: MachineDeps;
  readonly #closing = new AbortController();
  readonly #leftovers: Leftovers;
  readonly #book: AppBook;
  #phase: Phase = { kind: 'asleep' };
  #job: StartJob | undefined;
  #pendingJob: StartJob | undefined;
  #cancelRetry: (() => void) | undefined;
  #retryMs = retryMinMs;
  /** The last route that was published. */
  #revision = 0;
  #sleepingSinceMs: number;

  constructor(deps: MachineDeps, record: AppRecord) {
    this.#deps = deps;
    this.#book = new AppBook(deps, record);
    this.#sleepingSinceMs = deps.clock.nowMs();
    this.#leftovers = new Leftovers({ ...deps, app: record.name, signal: this.#closing.signal });
  }

  get record(): AppRecord {
    return this.#book.record;
  }

  get config(): AppConfig {
    return this.#book.config;
  }

  /** Takes the app over as the platform has it: a version that answers is served. Publishes the route. */
  adopt(): void {
    const { live, pending, good } = this.record;
    const answers = this.#deps.platform.targets(this.record.name, live).length > 0;
    if (answers && this.#book.version(live).outcome === 'good') {
      this.#serve(noTimings);
      this.#switchInBackground(live);
    }
    // An earlier leader may have been cut in any step: what is not served may still run.
    for (const version of [live, pending, good]) if (version !== null) this.#leftovers.add(version);
    for (let version = Math.max(1, this.record.latest - sweptVersions); version <= this.record.latest; version += 1)
      this.#leftovers.add(version);
    this.publish();
  }

  view(): AppView {
    return appViewOf(this.#situation());
  }

  versionViews(versions: readonly VersionRecord[]): VersionView[] {
    const situation = this.#situation();
    return versions.map((version) => versionViewOf(this.record.versions.get(version.version) ?? version, situation));
  }

  publish(): number {
    this.#revision = this.#deps.publish(routeOf(this.#situation(), this.config));
    return this.#revision;
  }

  /**
   * A declaration has been committed. What was learnt while it was being written (that a version answered, or failed)
   * stays; only what was declared changes. @returns the revision that routers must know.
   */
  declared(declared: Declared): number {
    const before = this.record;
    this.#book.declare(declared);
    const { live, pending } = this.record;
    const superseded = new AppError('superseded', `version ${pending ?? live} of ${before.name} was declared`);
    if (this.#pendingJob && this.#pendingJob.version !== pending) {
      this.#pendingJob.abort(superseded);
      this.#leftovers.add(this.#pendingJob.version);
      this.#pendingJob = undefined;
    }
    if (before.live !== live) {
      this.#job?.abort(superseded);
      this.#job = undefined;
      this.#leftovers.add(before.live);
      this.retry();
      // Back to a version that still runs: nothing has to be started.
      if (this.#targets().length > 0 && this.#book.version(live).outcome === 'good') this.#serve(noTimings);
    }
    return this.publish();
  }

  /** Someone acts on a failure: the next call may try again. */
  retry(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#retryMs = retryMinMs;
    this.#sleep();
  }

  targetsChanged(version: number): void {
    if (version === this.record.live && this.#phase.kind === 'serving') this.publish();
  }

  /** @throws AppError of the failure, superseded, cancelled. */
  async ensure(request: EnsureRequest): Promise<EnsureResult> {
    const { live, pending, name } = this.record;
    const wanted = request.version ?? pending ?? live;
    if (wanted !== live && wanted === pending) {
      this.#pendingJob ??= new StartJob(name, wanted, (job) => this.#runPending(job));
      return this.#joined(this.#pendingJob, request);
    }
    if (wanted !== live)
      throw new AppError('superseded', `version ${wanted} of ${name} is not the live one; version ${live} is`);
    if (this.#phase.kind === 'draining') this.#serve(this.#phase.timings); // a call takes it back
    if (this.#phase.kind === 'serving' && this.#targets().length > 0 && request.suspects.length === 0) {
      return { version: live, targets: this.#targets().length, timings: this.#phase.timings };
    }
    if (!this.#job) {
      if (this.#phase.kind === 'failed') this.retry();
      this.#job = new StartJob(name, live, (job) => this.#runLive(job, request.suspects));
      this.publish();
    }
    return this.#joined(this.#job, request);
  }

  /** Sends the app to sleep when it has been idle for long enough. Called every so often. */
  considerIdle({ busy, lastMs }: { readonly busy: boolean; readonly lastMs: number }): void {
    const idleMs = this.config.container.idle_shutdown_secs * 1_000;
    if (idleMs === 0 || busy || this.#job || this.#pendingJob) return;
    const nowMs = this.#deps.clock.nowMs();
    if (this.#phase.kind === 'serving' && this.#leftovers.any) this.#takeAway();
    if (this.#phase.kind === 'asleep' || this.#phase.kind === 'failed') {
      if (nowMs - Math.max(lastMs, this.#sleepingSinceMs) >= idleMs) this.#takeAway();
      return;
    }
    if (this.#phase.kind !== 'serving' || this.#book.version(this.record.live).spec.min_replicas > 0) return;
    if (nowMs - Math.max(lastMs, this.#phase.sinceMs) < idleMs) return;
    const phase: Phase = { ...this.#phase, kind: 'draining' };
    this.#phase = phase;
    this.#drain(phase).catch((err: unknown) => {
      if (this.#closing.signal.aborted) return;
      this.#deps.log.warn({ err, app: this.record.name }, 'going to zero failed; the app stays awake');
      if (this.#phase === phase) this.#serve(phase.timings);
    });
  }

  /** The app is being deleted: nothing of it may be started again. Ends when nothing is under way. */
  async close(): Promise<void> {
    const error = new AppError('cancelled', 'the app is deleted or the agent stops');
    this.#closing.abort(error);
    this.#cancelRetry?.();
    this.#job?.abort(error);
    this.#pendingJob?.abort(error);
    await Promise.allSettled([this.#job?.result, this.#pendingJob?.result, this.#leftovers.idle()]);
  }

  async #joined(job: StartJob, request: EnsureRequest): Promise<EnsureResult> {
    const timings = await job.join(request.onProgress, request.signal);
    return {
      version: job.version,
      targets: this.#deps.platform.targets(this.record.name, job.version).length,
      timings,
    };
  }

  async #runLive(job: StartJob, suspects: readonly string[]): Promise<StartTimings> {
    try {
      await this.#leftovers.reclaim(job.version);
      // A volume has one writer: the old version ends before the new one starts.
      if (this.#book.version(job.version).spec.volumes.length > 0) await this.#clearLeftovers();
      const switching = this.config.kubernetes.strict_version_check ? 'before' : 'after';
      const timings = await this.#attempts(job, switching, suspects);
      this.#job = undefined;
      this.#answered(job.version, timings, switching);
      return timings;
    } catch (error) {
      if (this.#job === job) this.#job = undefined;
      if (job.signal.aborted) throw toAppError(job.signal.reason);
      this.#liveFailed(job.version, toAppError(error));
      throw error;
    }
  }

  async #runPending(job: StartJob): Promise<StartTimings> {
    try {
      await this.#leftovers.reclaim(job.version);
      const timings = await this.#attempts(job, 'after', []);
      this.#pendingJob = undefined;
      const before = this.record.live;
      this.#book.point({ live: job.version, pending: null });
      this.#leftovers.add(before);
      this.#answered(job.version, timings, 'after');
      return timings;
    } catch (error) {
      if (this.#pendingJob === job) this.#pendingJob = undefined;
      if (job.signal.aborted) throw toAppError(job.signal.reason);
      const failure = this.#fail(job.version, toAppError(error));
      this.#book.point(
        { pending: null },
        this.#book.event('update.failed', `version ${this.record.live} stays live: ${failure.message}`, job.version),
      );
      this.#leftovers.add(job.version);
      this.#takeAway();
      this.publish();
      throw error;
    }
  }

  async #attempts(job: StartJob, switching: 'before' | 'after', suspects: readonly string[]): Promise<StartTimings> {
    const onPhase = (phase: EnsureProgress['phase'], message: string): void => job.progress(phase, message);
    const beganMs = this.#deps.clock.nowMs();
    for (let attempt = 1; ; attempt += 1) {
      const version = this.#book.version(job.version);
      try {
        const { timings, run } = await startVersion({
          platform: this.#deps.platform,
          run: this.#book.run(job.version),
          switching,
          suspects,
          signal: job.signal,
          now: () => this.#deps.clock.nowMs(),
          onPhase,
        });
        if (run.pin.imageDigest !== null) this.#book.pinned(job.version, run.pin.imageDigest);
        return timings;
      } catch (error) {
        const failed = toAppError(error);
        const inTime = this.#deps.clock.nowMs() - beganMs < this.config.container.start_deadline_secs * 1_000;
        const again = failed.code === 'platform_error' ? inTime : version.outcome === 'good' && attempt < maxAttempts;
        if (job.signal.aborted || !again) throw failed;
        this.#deps.log.warn(
          { err: failed, app: this.record.name, version: job.version, attempt },
          'start failed; tries again',
        );
        onPhase('queued', `try ${attempt} failed (${failed.code}); tries again`);
        await sleep(this.#deps.clock, attemptPauseMs * Math.min(attempt, maxAttempts), job.signal);
      }
    }
  }

  #answered(version: number, timings: StartTimings, switching: 'before' | 'after'): void {
    this.retry();
    const released = this.#book.answered(version, timings);
    if (released !== null) this.#leftovers.add(released);
    this.#serve(timings);
    if (switching === 'after') this.#switchInBackground(version);
    this.#takeAway();
  }

  #liveFailed(version: number, error: AppError): void {
    const failure = this.#fail(version, error);
    const { good } = this.record;
    const update = good !== null && good !== version;
    this.#leftovers.add(version);
    if (update && this.config.on_failed_update === 'previous') {
      this.#book.point(
        { live: good, pending: null },
        this.#book.event('update.reverted', `version ${good} is live again: ${failure.message}`, version),
      );
      this.#sleep();
      if (this.#targets().length > 0) this.#serve(noTimings);
      this.publish();
      this.#switchInBackground(good);
      this.#takeAway();
      return;
    }
    this.#phase = { kind: 'failed', failure };
    this.#sleepingSinceMs = this.#deps.clock.nowMs();
    this.#takeAway();
    // A failed update with on_failed_update = "fail" waits for someone to act; anything else may be tried again.
    if (!update) {
      this.#cancelRetry = this.#deps.clock.after(this.#retryMs, () => {
        this.#sleep();
        this.publish();
      });
      this.#retryMs = Math.min(this.#retryMs * 2, retryMaxMs);
    }
    this.publish();
  }

  /** Asks routers to let go; only when none has a call goes the version to zero. A call meanwhile takes it back. */
  async #drain(phase: Phase & { kind: 'draining' }): Promise<void> {
    const { name, live } = this.record;
    const signal = this.#closing.signal;
    const targets = this.#targets().map((target) => target.id);
    await this.#deps.settled(this.publish(), true, signal);
    if (this.#phase !== phase) return;
    const left = await this.#deps.release(name, targets, idleReleaseMs, signal);
    if (this.#phase !== phase) return;
    if (left > 0) {
      this.#serve(phase.timings);
      return;
    }
    this.#sleep();
    this.#leftovers.add(live);
    const { pending } = this.record;
    const asleep = this.#book.event('app.asleep', 'idle, went to zero', live);
    this.#book.point(pending === null ? {} : { live: pending, pending: null }, asleep);
    this.publish();
    this.#takeAway();
  }

  #serve(timings: StartTimings): void {
    this.#phase = { kind: 'serving', timings, sinceMs: this.#deps.clock.nowMs() };
    this.publish();
  }

  #sleep(): void {
    this.#phase = { kind: 'asleep' };
    this.#sleepingSinceMs = this.#deps.clock.nowMs();
  }

  #takeAway(): void {
    this.#clearLeftovers().catch((err: unknown) =>
      this.#deps.log.error({ err, app: this.record.name }, 'clean-up failed'),
    );
  }

  /** Takes away versions that may run and are not served; what is being started is left alone. */
  #clearLeftovers(): Promise<void> {
    const { live, kept, good } = this.record;
    const spared = [this.#job?.version, this.#pendingJob?.version, this.#phase.kind === 'serving' ? live : undefined];
    const revision = this.#revision;
    return this.#leftovers.clear({
      spared: new Set(spared.filter((version) => version !== undefined)),
      kept: new Set([live, kept, good].filter((version) => version !== null)),
      settled: (signal) => this.#deps.settled(revision, false, signal),
      drainMs: this.config.update.drain_secs * 1_000,
    });
  }

  #switchInBackground(version: number): void {
    const run = this.#book.run(version);
    this.#deps.platform.switchTo(run, this.#closing.signal).catch((err: unknown) => {
      if (!this.#closing.signal.aborted)
        this.#deps.log.error({ err, app: run.app, version }, 'the stable address could not be switched');
    });
  }

  #fail(version: number, error: AppError): Failure {
    this.#deps.log.warn({ app: this.record.name, version, code: error.code, phase: error.phase }, error.message);
    return this.#book.failed(version, error);
  }

  #situation(): Situation {
    return { record: this.record, phase: this.#phase, starting: this.#job !== undefined, targets: this.#targets() };
  }

  #targets(): ReturnType<Platform['targets']> {
    return this.#deps.platform.targets(this.record.name, this.record.live);
  }
}
