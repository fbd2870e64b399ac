/**
 * One app: which of its versions is meant to run, and the steps from what is to what should be. Every step is idempotent
 * and may be cut by a crash; the next leader repeats it. Postgres is written behind (outbox), never waited for.
 */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { AppConfig } from '../../../shared/protocol/app-config.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { AppView, Failure, VersionView } from '../../../shared/protocol/views.ts';
import type { Platform } from '../../platform/platform.ts';
import type { AppRecord, VersionRecord } from '../../store/records.ts';
import { AppBook, type Declared } from './app-book.ts';
import { attempts } from './attempts.ts';
import { dueOf, type KeptAwake, type NextLook } from '../plan/due.ts';
import { Leftovers } from './leftovers.ts';
import { letGo } from './let-go.ts';
import type { EnsureRequest, EnsureResult, MachineDeps } from './machine-deps.ts';
import { RetryTimer } from './retry-timer.ts';
import { appViewOf, routeOf, versionViewOf, type Phase, type Situation } from '../plan/serving.ts';
import { StableAddress } from './stable-address.ts';
import { StartJob } from './start-job.ts';
import type { Switching } from './start-version.ts';
import { Wakes } from './wakes.ts';

const noTimings: StartTimings = { buildMs: null, rolloutMs: null };
/** A clean-up that failed is tried again after this. */
const clearAgainMs = 5_000;

export class AppMachine {
  readonly #deps: MachineDeps;
  readonly #closing = new AbortController();
  readonly #leftovers: Leftovers;
  readonly #book: AppBook;
  readonly #address: StableAddress;
  readonly #retry: RetryTimer;
  readonly #wakes: Wakes;
  #phase: Phase = { kind: 'asleep' };
  #job: StartJob | undefined;
  #pendingJob: StartJob | undefined;
  /** The last route that was published. */
  #revision = 0;
  #sleepingSinceMs: number;
  #clearedMs = -Infinity;
  #draining: Promise<void> = Promise.resolve();

  constructor(deps: MachineDeps, record: AppRecord) {
    this.#deps = deps;
    this.#book = new AppBook(deps, record);
    this.#sleepingSinceMs = deps.clock.nowMs();
    this.#leftovers = new Leftovers({ ...deps, app: record.name, signal: this.#closing.signal });
    this.#address = new StableAddress({ ...deps, signal: this.#closing.signal });
    this.#wakes = new Wakes({ ...deps, record: (...event) => this.#book.happened(...event) });
    this.#retry = new RetryTimer(deps.clock, () => {
      this.#sleep();
      this.publish();
    });
  }

  get record(): AppRecord {
    return this.#book.record;
  }

  get config(): AppConfig {
    return this.#book.config;
  }

  /** Takes the app over as the platform and an earlier leader have it: what answers is served. Publishes the route. */
  adopt(wakeAgesMs: readonly number[] = []): void {
    this.#wakes.restore(wakeAgesMs);
    const { name, live, pending, good, kept } = this.record;
    // An earlier leader may have been cut in any step: what is not served may still run.
    for (const version of [live, pending, good, kept])
      if (version !== null && this.#deps.platform.mayRun(name, version)) this.#leftovers.add(version);
    const { outcome, failure } = this.#book.version(live);
    if (!this.#resume()) {
      if (outcome === 'failed' && failure && this.#waitsForSomeone(live)) this.#phase = { kind: 'failed', failure };
      else this.#promotePending();
      if (outcome === 'good') this.#wakes.fellAsleep();
    }
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
    if (this.#closing.signal.aborted) return this.#revision; // the route of a deleted app stays away
    this.#deps.onChange(this.record.name);
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
    if (this.#pendingJob && this.#pendingJob.version !== this.record.pending) {
      this.#cut(this.#pendingJob);
      this.#pendingJob = undefined;
    }
    // It fell asleep while the declaration was being written: there is nothing to wait behind.
    if (this.#phase.kind !== 'serving' && this.#phase.kind !== 'draining' && !this.#job) this.#promotePending();
    if (before.live !== this.record.live) {
      this.#cut(this.#job);
      this.#job = undefined;
      this.#leftovers.add(before.live);
      this.#wakes.awake();
      this.retry();
      this.#resume();
    }
    return this.publish();
  }

  /** Someone acts on a failure: the next call may try again. */
  retry(): void {
    this.#retry.reset();
    this.#sleep();
  }

  targetsChanged(version: number): void {
    if (version === this.record.live && this.#phase.kind === 'serving') this.publish();
  }

  /** @throws AppError of the failure, superseded, cancelled, wake_budget_exhausted. */
  async ensure(request: EnsureRequest): Promise<EnsureResult> {
    this.#closing.signal.throwIfAborted();
    const { live, name } = this.record;
    const wanted = this.#book.wanted(request.version);
    if (this.#phase.kind === 'draining') this.#serve(this.#phase.timings); // a call takes it back
    if (wanted !== live) {
      this.#pendingJob ??= new StartJob(name, wanted, (job) => this.#run(job, []));
      return this.#joined(this.#pendingJob, request);
    }
    if (this.#phase.kind === 'serving' && this.#targets().length > 0 && request.suspects.length === 0)
      return { version: live, targets: this.#targets().length, timings: this.#phase.timings };
    if (!this.#job) {
      if (this.#phase.kind !== 'serving') this.#wakes.begin(request.by, this.config.wake.max_per_hour);
      if (this.#phase.kind === 'failed') this.retry();
      this.#job = new StartJob(name, live, (job) => this.#run(job, request.suspects));
      this.publish();
    }
    return this.#joined(this.#job, request);
  }

  /** Does what the clock makes due. @returns when it has to be asked again. */
  look(): NextLook {
    const phase = this.#phase;
    const { container } = this.config;
    const keptAwake = this.#deps.keepAwake.of(this.#book);
    const { step, clear, next } = dueOf({
      phase,
      starting: this.#job !== undefined || this.#pendingJob !== undefined,
      hasPending: this.record.pending !== null,
      hasLeftovers: this.#leftovers.any,
      keptAwake,
      hasHours: container.running_hours.length > 0,
      idleMs: container.idle_shutdown_secs * 1_000,
      sinceMs: phase.kind === 'serving' ? phase.sinceMs : this.#sleepingSinceMs,
      nowMs: this.#deps.clock.nowMs(),
      isIdle: () => this.#deps.isIdle(this.record.name),
    });
    if (clear && this.#leftovers.any && this.#deps.clock.nowMs() - this.#clearedMs >= clearAgainMs) this.#takeAway();
    if (step === 'start' && keptAwake) this.#startUncalled(keptAwake);
    else if (step === 'zero' && phase.kind === 'serving')
      this.#draining = this.#goToZero({ ...phase, kind: 'draining' });
    return next;
  }

  /** The app is being deleted: nothing of it may be started again. Ends when nothing is under way. */
  async close(): Promise<void> {
    const error = new AppError('cancelled', 'the app is deleted or the agent stops');
    this.#closing.abort(error);
    this.#retry.reset();
    this.#job?.abort(error);
    this.#pendingJob?.abort(error);
    const jobs = [this.#job?.result, this.#pendingJob?.result];
    await Promise.allSettled([...jobs, this.#leftovers.idle(), this.#address.idle(), this.#draining]);
  }

  #startUncalled(why: KeptAwake): void {
    const { name, live, pending } = this.record;
    const start = (version: number): StartJob => new StartJob(name, version, (job) => this.#run(job, []));
    if (pending !== null) this.#pendingJob = start(pending);
    else {
      this.#job = start(live);
      // Once, and not with each try of one that fails.
      const event = this.#book.event('app.woken', `started without a call: ${why}`, live);
      if (this.#book.version(live).failure === null) this.#book.point({}, event);
    }
    this.publish();
  }

  async #joined(job: StartJob, request: EnsureRequest): Promise<EnsureResult> {
    const timings = await job.join(request.onProgress, request.signal);
    const { version } = job;
    return { version, targets: this.#deps.platform.targets(this.record.name, version).length, timings };
  }

  /** The live version, or the pending one, which becomes live when it answers (or when there is no other any more). */
  async #run(job: StartJob, suspects: readonly string[]): Promise<StartTimings> {
    try {
      await this.#leftovers.reclaim(job.version);
      job.signal.throwIfAborted();
      const { spec, config } = this.#book.run(job.version);
      // A volume has one writer: the old version ends before the new one starts.
      if (spec.volumes.length > 0) await this.#clearLeftovers();
      job.signal.throwIfAborted();
      // While the app is served, its address leads to what is served.
      const held = this.#job === job && this.#phase.kind !== 'serving';
      const switching = held && config.kubernetes.strict_version_check ? 'before' : 'after';
      if (switching === 'before') this.#address.letGo();
      const timings = await attempts({ ...this.#deps, book: this.#book }, job, switching, suspects);
      if (this.#pendingJob === job) this.#promotePending();
      this.#job = undefined;
      this.#answered(job.version, timings, switching);
      return timings;
    } catch (error) {
      if (job.signal.aborted) {
        this.#leftovers.add(job.version); // whatever came of it by then
        this.#deps.onChange(this.record.name);
        throw toAppError(job.signal.reason);
      }
      if (this.#pendingJob === job) this.#pendingFailed(job.version, toAppError(error));
      else this.#liveFailed(job.version, toAppError(error));
      throw error;
    }
  }

  /** Nothing, or nothing any more, answers in place of the pending version: it is the live one from now on. */
  #promotePending(): void {
    const { live, pending } = this.record;
    if (pending === null) return;
    this.#cut(this.#job);
    this.#job = this.#pendingJob;
    this.#pendingJob = undefined;
    this.#leftovers.add(live);
    this.#book.point({ live: pending, pending: null });
  }

  #cut(job: StartJob | undefined): void {
    if (!job) return;
    job.abort(new AppError('superseded', `a newer version of ${this.record.name} than ${job.version} is wanted`));
    this.#leftovers.add(job.version);
  }

  /** Back to a live version that still runs: nothing has to be started. */
  #resume(): boolean {
    const { live } = this.record;
    if (this.#book.version(live).outcome !== 'good' || this.#targets().length === 0) return false;
    if (!this.#leftovers.takeBack(live)) return false;
    this.#serve(noTimings);
    this.#address.pointTo(this.#book.run(live));
    return true;
  }

  #answered(version: number, timings: StartTimings, switching: Switching): void {
    this.retry();
    this.#wakes.awake();
    const released = this.#book.answered(version, timings);
    if (released !== null) this.#leftovers.add(released);
    this.#serve(timings);
    if (switching === 'after') this.#address.pointTo(this.#book.run(version));
    this.#takeAway();
  }

  #pendingFailed(version: number, error: AppError): void {
    this.#pendingJob = undefined;
    const { message } = this.#fail(version, error);
    const event = this.#book.event('update.failed', `version ${this.record.live} stays live: ${message}`, version);
    this.#book.point({ pending: null }, event);
    this.#leftovers.add(version);
    this.#takeAway();
    this.publish();
  }

  /** A failed update with on_failed_update = "fail": no clock tries it again. */
  #waitsForSomeone(version: number): boolean {
    const { good } = this.record;
    return good !== null && good !== version && this.config.on_failed_update === 'fail';
  }

  #liveFailed(version: number, error: AppError): void {
    this.#job = undefined;
    const { log, clock } = this.#deps;
    if (this.#phase.kind === 'serving' && this.#targets().length > 0) {
      log.warn({ err: error, app: this.record.name, version }, 'suspect targets could not be looked at; others answer');
      this.publish();
      return;
    }
    const failure = this.#fail(version, error);
    this.#leftovers.add(version);
    const { good, pending } = this.record;
    if (pending !== null) {
      this.#sleep();
      this.#promotePending();
    } else if (this.#waitsForSomeone(version)) {
      this.#phase = { kind: 'failed', failure };
    } else if (good !== null && good !== version) {
      const message = `version ${good} is live again: ${failure.message}`;
      this.#book.point({ live: good }, this.#book.event('update.reverted', message, version));
      this.#sleep();
      if (!this.#resume()) this.#address.pointTo(this.#book.run(good));
    } else {
      this.#phase = { kind: 'failed', failure };
      this.#retry.start();
    }
    this.#sleepingSinceMs = clock.nowMs();
    this.publish();
    this.#takeAway();
  }

  /** Only when no router has a call goes the version to zero. A call meanwhile takes it back. */
  async #goToZero(phase: Phase & { kind: 'draining' }): Promise<void> {
    this.#phase = phase;
    const { name: app, live } = this.record;
    const isMeant = (): boolean => this.#phase === phase;
    const targets = this.#targets().map((target) => target.id);
    const request = { app, targets, revision: this.publish(), isMeant };
    const isFree = await letGo(this.#deps, request, this.#closing.signal).catch((err: unknown) => {
      if (!this.#closing.signal.aborted) this.#deps.log.warn({ err, app }, 'going to zero failed; the app stays awake');
      return false;
    });
    if (!isMeant() || this.#closing.signal.aborted) return;
    if (!isFree) {
      this.#serve(phase.timings);
      return;
    }
    this.#sleep();
    this.#wakes.fellAsleep();
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
    this.#clearedMs = this.#deps.clock.nowMs();
    this.#clearLeftovers().catch((err: unknown) =>
      this.#deps.log.error({ err, app: this.record.name }, 'clean-up failed'),
    );
  }

  /** Takes away versions that may run and are not served; what is being started is left alone. */
  #clearLeftovers(): Promise<void> {
    const { live } = this.record;
    const { spec, outcome } = this.#book.version(live);
    const stays = this.#phase.kind === 'serving' || (outcome === 'good' && spec.min_replicas > 0);
    const spared = [this.#job?.version, this.#pendingJob?.version, stays ? live : undefined];
    const revision = this.#revision;
    return this.#leftovers.clear({
      spared: new Set(spared.filter((version) => version !== undefined)),
      isKept: (version) => [this.record.live, this.record.kept, this.record.good].includes(version),
      settled: (countUnknown, signal) => this.#deps.settled(revision, countUnknown, signal),
      isSettled: () => this.#deps.isSettled(revision),
      // Of an app that went to zero: a router that nobody knew of has come back with calls on it.
      onBusy: (version) =>
        version === this.record.live && this.#phase.kind === 'asleep' && !this.#job && this.#resume(),
      drainMs: this.config.update.drain_secs * 1_000,
    });
  }

  #fail(version: number, error: AppError): Failure {
    this.#deps.log.warn({ app: this.record.name, version, code: error.code, phase: error.phase }, error.message);
    return this.#book.failed(version, error);
  }

  #situation(): Situation {
    return {
      record: this.record,
      phase: this.#phase,
      starting: this.#job !== undefined,
      targets: this.#targets(),
      keptAwake: this.#deps.keepAwake.of(this.#book),
    };
  }

  #targets(): ReturnType<Platform['targets']> {
    return this.#deps.platform.targets(this.record.name, this.record.live);
  }
}
