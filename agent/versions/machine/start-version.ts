/** One attempt to make one version run: prepare (build), switch, start. Owned by the app's machine, never by a caller. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { OnPhase, Pin, Platform, VersionRun } from '../../platform/platform.ts';
import { PhaseTimes } from './phase-times.ts';

/**
 * before: nobody is served meanwhile, so the stable address is switched while the version starts, and the attempt ends
 * when both are done (strict) · after: it is switched once the version has started, which nobody waits for (relaxed,
 * and updates without a hold).
 */
export type Switching = 'before' | 'after';

export interface StartRequest {
  readonly platform: Pick<Platform, 'prepare' | 'start' | 'switchTo'>;
  readonly run: VersionRun;
  readonly switching: Switching;
  readonly suspects: readonly string[];
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly onPhase: OnPhase;
  /** What the version runs is there; its own start begins now. */
  readonly onPrepared: (pin: Pin) => void;
}

export interface StartOutcome {
  readonly timings: StartTimings;
  /** The run with the pin that was found now. */
  readonly run: VersionRun;
}

/** The start itself ends by the deadlines of the platform; a stable address that does not follow it is given this long. */
const switchDeadlineMs = 30_000;

/** @throws AppError as `Platform.prepare` and `Platform.start` do; `cancelled` when the signal aborts. */
export async function startVersion(request: StartRequest): Promise<StartOutcome> {
  const { platform, signal, clock, onPhase, suspects } = request;
  const preparedAtMs = clock.nowMs();
  const run = await prepared(request);
  const beganMs = clock.nowMs();
  request.onPrepared(run.pin);
  const built = run.pin.imageTag !== null && run !== request.run;
  const inner = new AbortController();
  const either = AbortSignal.any([signal, inner.signal]);
  let cancelDeadline: () => void = () => undefined;
  const times = new PhaseTimes(clock);
  const onStep: OnPhase = (phase, ...rest) => {
    times.enter(phase);
    onPhase(phase, ...rest);
  };
  const starting = platform.start(run, { signal: either, onPhase: onStep, suspects }).then(() => {
    times.enter(request.switching === 'before' ? 'switch' : 'ready');
    if (request.switching === 'after' || inner.signal.aborted) return;
    cancelDeadline = clock.after(switchDeadlineMs, () => {
      const message = `it answers, but the stable address of ${run.app} still leads to other versions`;
      inner.abort(new AppError('platform_error', message, { phase: 'start' }));
    });
  });
  const steps: Promise<unknown>[] = [starting];
  if (request.switching === 'before') steps.push(platform.switchTo(run, either));
  try {
    await Promise.all(steps);
  } catch (error) {
    const late: unknown = inner.signal.reason;
    inner.abort(new AppError('cancelled', 'the start has failed', { cause: error }));
    // The other step ends by the signal: nothing goes on behind the failure.
    await Promise.allSettled(steps);
    throw toAppError(late ?? error);
  } finally {
    cancelDeadline();
  }
  onPhase('ready', 'answers');
  return {
    run,
    timings: {
      buildMs: built ? Math.round(beganMs - preparedAtMs) : null,
      rolloutMs: Math.round(clock.nowMs() - beganMs),
      ...times.end(),
    },
  };
}

/** What the version runs is found or built once in its life: a wake touches no registry. */
async function prepared({ platform, run, signal, onPhase }: StartRequest): Promise<VersionRun> {
  if (run.pin.imageDigest !== null) return run;
  return { ...run, pin: await platform.prepare(run, { signal, onPhase }) };
}
