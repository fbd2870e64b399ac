/**
 * One app: which of its versions is to run, and the steps from the observed to the desired state. Every step is idempotent and may be cut by a
 * crash; the next leader repeats it. Records for Postgres are written behind and never waited for.
 */
import { AppError } from '../../../shared/errors.ts';
import type { AppConfig } from '../../../shared/protocol/app-config.ts';
import type { StartTimings, Target } from '../../../shared/protocol/routes.ts';
import type { AppView, Failure, VersionView } from '../../../shared/protocol/views.ts';
import { declaredVersion, type AppRecord, type VersionRecord } from '../../store/records.ts';
import { afterFailure, waitsForSomeone } from '../plan/after-failure.ts';
import { dueOf, type NextLook } from '../plan/due.ts';
import type { KeptAwake } from '../plan/keep-awake.ts';
import { appViewOf, routeOf, stateOf, versionViewOf, type Situation } from '../plan/serving.ts';
import { AppPhase } from './app-phase.ts';
import { AppState, type Declared } from './app-state.ts';
import type { Switching } from './attempt.ts';
import { drainIdleApp } from './drain.ts';
import { Leftovers, type ClearPlan } from './leftovers.ts';
import type { EnsureRequest, EnsureResult, MachineDeps } from './machine-deps.ts';
import { StableAddress } from './stable-address.ts';
import { Starts, type StartOutcomes } from './starts.ts';
import { Wakes } from './wakes.ts';

const noTimings: StartTimings = { buildMs: null, rolloutMs: null };

export class AppMachine {
  readonly #deps: MachineDeps;
  readonly #closing = new AbortController();
  readonly #state: AppState;
  readonly #leftovers: Leftovers;
  readonly #address: StableAddress;
  readonly #wakes: Wakes;
  readonly #starts: Starts;
  readonly #phase: AppPhase;
  /** The revision of the last route that was published. */
  #revision = 0;
  #draining: Promise<void> = Promise.resolve();

  constructor(deps: MachineDeps, record: AppRecord) {
    const { signal } = this.#closing;
    this.#deps = deps;
    this.#phase = new AppPhase(deps.clock, () => this.publish());
    const state = (this.#state = new AppState(deps, record));
    const leftovers = (this.#leftovers = new Leftovers({
      ...deps,
      app: record.name,
      plan: () => this.#clearPlan(),
      signal,
    }));
    const address = (this.#address = new StableAddress({ ...deps, signal }));
    this.#wakes = new Wakes({
      ...deps,
      record: (kind, message, actor) => state.recordEvent(state.event(kind, message, state.record.live, actor)),
    });
    const outcomes: StartOutcomes = {
      isServing: () => this.#phase.current.kind === 'serving',
      promotePending: () => this.#promotePending(),
      answered: (version, timings, switching) => this.#answered(version, timings, switching),
      pendingFailed: (version, error) => this.#pendingFailed(version, error),
      liveFailed: (version, error) => this.#liveFailed(version, error),
    };
    this.#starts = new Starts({ ...deps, state, leftovers, address, outcomes });
  }

  get record(): AppRecord {
    return this.#state.record;
  }

  /** The config of the live version. */
  get config(): AppConfig {
    return this.#state.config;
  }

  get state(): AppView['state'] {
    return stateOf(this.#situation());
  }

  /** Takes the app over as the platform and an earlier leader have it: what answers is served. Publishes the route. */
  adopt(wakeAgesMs: readonly number[] = []): void {
    this.#wakes.restore(wakeAgesMs);
    const { name, live, pending, good, kept } = this.record;
    // An earlier leader may have been cut in any step: versions that are not served may still run.
    for (const version of [live, pending, good, kept])
      if (version !== null && this.#deps.platform.mayRun(name, version)) this.#leftovers.add(version);
    const { outcome, failure } = this.#state.version(live);
    if (!this.#resume()) {
      if (outcome === 'failed' && failure && waitsForSomeone(this.record, this.config)) this.#phase.fail(failure);
      else this.#promotePending();
      if (outcome === 'good') this.#wakes.fellAsleep();
    }
    this.publish();
  }

  view(): Omit<AppView, 'url'> {
    return appViewOf(this.#situation());
  }

  versionViews(versions: readonly VersionRecord[]): VersionView[] {
    const situation = this.#situation();
    return versions.map((version) => versionViewOf(this.record.versions.get(version.version) ?? version, situation));
  }

  /** @returns the revision that routers must know. */
  publish(): number {
    if (this.#closing.signal.aborted) return this.#revision; // the route of a deleted app stays away
    this.#deps.onChange(this.record.name);
    this.#revision = this.#deps.hub.publish(routeOf(this.#situation(), this.config));
    return this.#revision;
  }

  /**
   * Takes a committed declaration. What was learnt while it was being committed (a version answered, or failed) stays; only what was
   * declared changes. @returns the revision that routers must know.
   */
  declared(declared: Declared): number {
    const { live } = this.record;
    this.#state.declare(declared);
    this.#starts.cutPendingUnless(this.record.pending);
    // The app fell asleep while the declaration was being committed: nothing answers in place of the pending version.
    if (!this.#phase.isAnswering && !this.#starts.hasLive) this.#promotePending();
    if (live !== this.record.live) {
      this.#starts.cutLive();
      this.#leftovers.add(live);
      this.#wakes.awake();
      this.retry();
      this.#resume();
    }
    return this.publish();
  }

  /** Someone acts on a failure: the next call may start the app again. */
  retry(): void {
    this.#phase.resetRetry();
    this.#phase.sleep();
  }

  targetsChanged(version: number): void {
    if (version === this.record.live && this.#phase.current.kind === 'serving') this.publish();
  }

  /** Makes a version run. @throws AppError of the start, superseded, cancelled, wake_budget_exhausted. */
  async ensure(request: EnsureRequest): Promise<EnsureResult> {
    this.#closing.signal.throwIfAborted();
    const { live } = this.record;
    const wanted = this.#state.wanted(request.version);
    const before = this.#phase.current;
    if (before.kind === 'draining') this.#serve(before.timings); // a call takes the app back
    if (wanted !== live) return await this.#starts.joinPending(wanted, request);
    const phase = this.#phase.current;
    const targets = this.#targets().length;
    if (phase.kind === 'serving' && targets > 0 && request.suspects.length === 0)
      return { version: live, targets, timings: phase.timings };
    if (!this.#starts.hasLive) {
      if (phase.kind !== 'serving') this.#wakes.begin(request.by, this.config.wake.max_per_hour);
      if (phase.kind === 'failed') this.retry();
      this.#starts.beginLive(live, request.suspects);
      this.publish();
    }
    return await this.#starts.joinLive(request);
  }

  /** Does what the time makes due. @returns when to call it again. */
  look(): NextLook {
    const phase = this.#phase.current;
    const { container } = this.config;
    const keptAwake = this.#keptAwake();
    const { step, clear, next } = dueOf({
      phase,
      starting: this.#starts.hasAny,
      hasPending: this.record.pending !== null,
      hasLeftovers: this.#leftovers.any,
      keptAwake,
      hasHours: container.running_hours.length > 0,
      idleMs: container.idle_shutdown_secs * 1_000,
      sinceMs: this.#phase.sinceMs,
      nowMs: this.#deps.clock.nowMs(),
      isIdle: () => this.#deps.isIdle(this.record.name),
    });
    if (clear) this.#leftovers.clearAgain();
    if (step === 'start' && keptAwake) this.#startUncalled(keptAwake);
    else if (step === 'zero' && phase.kind === 'serving') this.#draining = this.#goToZero(phase.timings);
    return next;
  }

  /** The app is deleted or the agent stops: nothing is started again. Resolves when nothing is under way. */
  async close(): Promise<void> {
    const error = new AppError('cancelled', 'the app is deleted or the agent stops');
    this.#closing.abort(error);
    this.#phase.resetRetry();
    await this.#starts.end(error);
    await Promise.allSettled([this.#leftovers.idle(), this.#address.idle(), this.#draining]);
  }

  #startUncalled(why: KeptAwake): void {
    const { live, pending } = this.record;
    if (pending !== null) this.#starts.beginPending(pending);
    else {
      this.#starts.beginLive(live, []);
      // Recorded once, and not again with each retry of a version that fails.
      if (this.#state.version(live).failure === null)
        this.#state.recordEvent(this.#state.event('app.woken', `started without a call: ${why}`, live));
    }
    this.publish();
  }

  /** Nothing answers in place of the pending version, or it answers itself: it is the live one from now on. */
  #promotePending(): void {
    const { live, pending } = this.record;
    if (pending === null) return;
    this.#starts.promote();
    this.#leftovers.add(live);
    this.#state.savePointers({ live: pending, pending: null });
  }

  /** Serves the live version again if it still runs, so nothing has to be started. */
  #resume(): boolean {
    const { live } = this.record;
    if (this.#state.version(live).outcome !== 'good' || this.#targets().length === 0) return false;
    if (!this.#leftovers.takeBack(live)) return false;
    this.#serve(noTimings);
    this.#address.pointTo(this.#state.run(live));
    return true;
  }

  #answered(version: number, timings: StartTimings, switching: Switching): void {
    this.retry();
    this.#wakes.awake();
    const released = this.#state.answered(version, timings);
    if (released !== null) this.#leftovers.add(released);
    this.#serve(timings);
    if (switching === 'after') this.#address.pointTo(this.#state.run(version));
    this.#leftovers.clearInBackground();
  }

  #pendingFailed(version: number, error: AppError): void {
    const { message } = this.#fail(version, error);
    const event = this.#state.event('update.failed', `version ${this.record.live} stays live: ${message}`, version);
    this.#state.savePointers({ pending: null }, event);
    this.#leftovers.clearInBackground();
    this.publish();
  }

  #liveFailed(version: number, error: AppError): void {
    const { log } = this.#deps;
    if (this.#phase.current.kind === 'serving' && this.#targets().length > 0) {
      log.warn({ err: error, app: this.record.name, version }, 'suspect targets could not be probed; others answer');
      this.publish();
      return;
    }
    const failure = this.#fail(version, error);
    const next = afterFailure(this.record, this.config);
    switch (next.kind) {
      case 'promote':
        this.#phase.sleep();
        this.#promotePending();
        break;
      case 'revert':
        this.#revert(version, next.to, failure);
        break;
      case 'wait':
        this.#phase.fail(failure);
        break;
      case 'retry':
        this.#phase.failForNow(failure);
        break;
    }
    this.publish();
    this.#leftovers.clearInBackground();
  }

  /** The last good version is live again. */
  #revert(failed: number, good: number, failure: Failure): void {
    const event = this.#state.event('update.reverted', `version ${good} is live again: ${failure.message}`, failed);
    this.#state.savePointers({ live: good }, event);
    this.#phase.sleep();
    if (!this.#resume()) this.#address.pointTo(this.#state.run(good));
  }

  #fail(version: number, error: AppError): Failure {
    this.#deps.log.warn({ app: this.record.name, version, code: error.code, phase: error.phase }, error.message);
    this.#leftovers.add(version);
    return this.#state.failed(version, error);
  }

  /** Goes to zero only when no router has a call of the app. A call that comes meanwhile takes it back. */
  async #goToZero(timings: StartTimings): Promise<void> {
    const { signal } = this.#closing;
    const phase = this.#phase.drain(timings);
    const { name: app, live } = this.record;
    const isMeant = (): boolean => this.#phase.current === phase;
    const targets = this.#targets().map((target) => target.id);
    const request = { app, targets, revision: this.publish(), isMeant };
    const isFree = await drainIdleApp(this.#deps, request, signal).catch((err: unknown) => {
      if (!signal.aborted) this.#deps.log.warn({ err, app }, 'could not drain an idle app; it stays awake');
      return false;
    });
    if (!isMeant() || signal.aborted) return;
    if (!isFree) {
      this.#serve(timings);
      return;
    }
    this.#phase.sleep();
    this.#wakes.fellAsleep();
    this.#leftovers.add(live);
    const { pending } = this.record;
    const event = this.#state.event('app.asleep', 'idle, went to zero', live);
    this.#state.savePointers(pending === null ? {} : { live: pending, pending: null }, event);
    this.publish();
    this.#leftovers.clearInBackground();
  }

  #serve(timings: StartTimings): void {
    this.#phase.serve(timings);
    this.publish();
  }

  /** How versions that may run and are not served are ended. A version that is being started stays. */
  #clearPlan(): ClearPlan {
    const { live } = this.record;
    const { spec, outcome } = this.#state.version(live);
    const liveStays = this.#phase.current.kind === 'serving' || (outcome === 'good' && spec.min_replicas > 0);
    return {
      spared: new Set([...this.#starts.versions, ...(liveStays ? [live] : [])]),
      isKept: (version) => [this.record.live, this.record.kept, this.record.good].includes(version),
      revision: this.#revision,
      drainMs: this.config.update.drain_secs * 1_000,
      onBusy: (version) => {
        // The app went to zero, and a router that nobody knew of has come back with calls on it.
        const isAsleep = this.#phase.current.kind === 'asleep' && !this.#starts.hasLive;
        if (version === this.record.live && isAsleep) this.#resume();
      },
    };
  }

  #keptAwake(): KeptAwake | undefined {
    const { good } = this.record;
    // Nothing runs before the first call.
    return good === null ? undefined : this.#deps.keepAwake.of(this.#state.run(declaredVersion(this.record).version));
  }

  #situation(): Situation {
    return {
      record: this.record,
      phase: this.#phase.current,
      starting: this.#starts.hasLive,
      targets: this.#targets(),
      keptAwake: this.#keptAwake(),
    };
  }

  #targets(): readonly Target[] {
    return this.#deps.platform.targets(this.record.name, this.record.live);
  }
}
