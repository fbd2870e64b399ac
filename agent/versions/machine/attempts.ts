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

/** @throws AppError of the last attempt; the signal's reason. */
export async function startWithRetries(deps: AttemptsDeps, request: StartRequest): Promise<StartTimings> {
  const { state, metrics, clock, log } = deps;
  const { version, onPhase, signal } = request;
  const { app, config } = state.run(version);
  const askedMs = clock.nowMs();
  /** When the start deadline begins: a build has its own. */
  let startedMs: number | undefined;
  let attempts = 0;
  let isRebuilding = false;

  async function attempt(): Promise<StartTimings> {
    attempts += 1;
    const stored = state.run(version);
    const run = isRebuilding ? { ...stored, pin: { ...stored.pin, imageDigest: null } } : stored;
    try {
      const outcome = await attemptStart({
        ...deps,
        ...request,
        run,
        onPrepared: (pin) => {
          startedMs ??= clock.nowMs();
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
      if (isRebuilding || !mayBeLost(failure, run)) throw failure;
      isRebuilding = true;
      startedMs = undefined;
      const message = 'the image could not be pulled: asking the registry, and building it again if it is lost';
      log.warn({ err: failure, app, version }, message);
      onPhase('queued', message);
      return await attempt();
    }
  }

  const isPassing = ({ code }: AppError): boolean =>
    code === 'platform_error'
      ? clock.nowMs() - (startedMs ?? askedMs) < config.container.start_deadline_secs * 1_000
      : state.version(version).outcome === 'good' && attempts < maxAttempts;
  const pauses: Backoff = { next: () => pauseMs * Math.min(attempts, maxAttempts), reset: () => undefined };
  try {
    return await retry(attempt, {
      clock,
      signal,
      backoff: pauses,
      isPassing: (error) => isPassing(toAppError(error)),
      onRetry: ({ error }) => {
        const failure = toAppError(error);
        log.warn({ err: failure, app, version, attempt: attempts }, 'a start failed; trying again');
        onPhase('queued', `attempt ${attempts} failed (${failure.code}); trying again`);
      },
    });
  } catch (error) {
    signal.throwIfAborted();
    const failure = toAppError(error);
    metrics.startFailed(failure.code);
    throw failure;
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
