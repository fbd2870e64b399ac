/** How often a start is attempted: a fault of the platform until the start deadline, a version that has answered before three times. */
import { type AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { Backoff } from '../../../shared/wait/backoff.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { retry } from '../../../shared/wait/retry.ts';
import type { OnPhase, Platform, VersionRun } from '../../platform/platform.ts';
import type { AppState } from './app-state.ts';
import { attemptStart, type Switching } from './attempt.ts';
import type { VersionMetrics } from './machine-deps.ts';

interface AttemptsDeps {
  readonly platform: Pick<Platform, 'prepare' | 'start' | 'switchTo'>;
  readonly state: Pick<AppState, 'version' | 'run' | 'pinned'>;
  readonly metrics: Pick<VersionMetrics, 'started' | 'startFailed'>;
  readonly clock: Clock;
  readonly log: Log;
}

export interface StartRequest {
  readonly version: number;
  readonly switching: Switching;
  readonly suspects: readonly string[];
  readonly onPhase: OnPhase;
  readonly signal: AbortSignal;
}

const maxAttempts = 3;
const pauseMs = 500;

/** Starts a version and waits until it answers. @throws AppError of the last attempt; the signal's reason. */
export async function startWithRetries(deps: AttemptsDeps, request: StartRequest): Promise<StartTimings> {
  return await new StartAttempts(deps, request).run();
}

class StartAttempts {
  readonly #deps: AttemptsDeps;
  readonly #request: StartRequest;
  readonly #askedMs: number;
  /** When the start deadline begins; undefined during a build, which has a deadline of its own. */
  #startedMs: number | undefined;
  #attempts = 0;
  #isRebuilding = false;

  constructor(deps: AttemptsDeps, request: StartRequest) {
    this.#deps = deps;
    this.#request = request;
    this.#askedMs = deps.clock.nowMs();
  }

  async run(): Promise<StartTimings> {
    const { clock, metrics } = this.#deps;
    const { signal } = this.#request;
    const pauses: Backoff = {
      next: () => pauseMs * Math.min(this.#attempts, maxAttempts),
      reset: () => undefined,
    };
    try {
      return await retry(() => this.#attempt(), {
        clock,
        signal,
        backoff: pauses,
        isPassing: (error) => this.#isPassing(toAppError(error)),
        onRetry: ({ error }) => {
          const failure = toAppError(error);
          this.#report(failure, 'a start failed; trying again');
          this.#request.onPhase('queued', `attempt ${this.#attempts} failed (${failure.code}); trying again`);
        },
      });
    } catch (error) {
      signal.throwIfAborted();
      const failure = toAppError(error);
      metrics.startFailed(failure.code);
      throw failure;
    }
  }

  async #attempt(): Promise<StartTimings> {
    const { state, metrics, clock } = this.#deps;
    const { version, signal } = this.#request;
    this.#attempts += 1;
    const stored = state.run(version);
    const run = this.#isRebuilding ? { ...stored, pin: { ...stored.pin, imageDigest: null } } : stored;
    try {
      const outcome = await attemptStart({
        ...this.#deps,
        ...this.#request,
        run,
        onPrepared: (pin) => {
          this.#startedMs ??= clock.nowMs();
          // A built image is recorded whether the app starts or not; the digest of a tag only once it has answered.
          if (run.spec.source !== undefined) state.pinned(version, pin);
        },
      });
      // Another version may have been declared in the moment in which this one answered.
      signal.throwIfAborted();
      state.pinned(version, outcome.run.pin);
      metrics.started(outcome.timings);
      return outcome.timings;
    } catch (error) {
      signal.throwIfAborted();
      const failure = toAppError(error);
      if (this.#isRebuilding || !mayBeLost(failure, run)) throw failure;
      return await this.#rebuild(failure);
    }
  }

  async #rebuild(failure: AppError): Promise<StartTimings> {
    this.#isRebuilding = true;
    this.#startedMs = undefined;
    const message = 'the image could not be pulled: asking the registry, and building it again if it is lost';
    this.#report(failure, message);
    this.#request.onPhase('queued', message);
    return await this.#attempt();
  }

  #isPassing({ code }: AppError): boolean {
    const { state, clock } = this.#deps;
    const { version } = this.#request;
    if (code !== 'platform_error') return state.version(version).outcome === 'good' && this.#attempts < maxAttempts;
    const deadlineMs = state.run(version).config.container.start_deadline_secs * 1_000;
    return clock.nowMs() - (this.#startedMs ?? this.#askedMs) < deadlineMs;
  }

  #report(err: AppError, message: string): void {
    const { version } = this.#request;
    const { app } = this.#deps.state.run(version);
    this.#deps.log.warn({ err, app, version, attempt: this.#attempts }, message);
  }
}

/**
 * Whether the image may be missing and can be built again. A node behind a mirror reports the error of the place it asked last, which
 * may be one that it cannot reach at all, so `prepare` asks the registry itself.
 */
function mayBeLost({ code }: AppError, { spec, pin }: VersionRun): boolean {
  const isPullFailure = code === 'image_not_found' || code === 'image_pull_failed';
  return isPullFailure && spec.source !== undefined && pin.imageDigest !== null;
}
