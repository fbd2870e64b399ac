/** One attempt to start one version: prepare (build), start, and switch the stable address. It belongs to the app's machine, not to a caller. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { OnPhase, Pin, Platform, VersionRun } from '../../platform/platform.ts';

/**
 * When the stable address is switched. `before`: the app is held, so it is switched while the version starts, and the attempt ends when
 * both are done (strict version check). `after`: it is switched once the version answers, and nobody waits for it.
 */
export type Switching = 'before' | 'after';

export interface AttemptRequest {
  readonly platform: Pick<Platform, 'prepare' | 'start' | 'switchTo'>;
  readonly run: VersionRun;
  readonly switching: Switching;
  /** Ids of targets that are said to refuse connections. */
  readonly suspects: readonly string[];
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly onPhase: OnPhase;
  /** Called when the image or folder is ready, right before the platform starts the version. */
  readonly onPrepared: (pin: Pin) => void;
}

export interface AttemptOutcome {
  readonly timings: StartTimings;
  /** The run, with the pin that was found. */
  readonly run: VersionRun;
}

/** The platform bounds the start itself. A stable address that does not follow gets this long. */
const switchDeadlineMs = 30_000;

/** @throws AppError as `Platform.prepare` and `Platform.start` do; `cancelled` when the signal aborts. */
export async function attemptStart(request: AttemptRequest): Promise<AttemptOutcome> {
  const { clock, onPhase } = request;
  const askedMs = clock.nowMs();
  const run = await prepare(request);
  const preparedMs = clock.nowMs();
  request.onPrepared(run.pin);
  const times = new PhaseTimes(clock);
  await startAndSwitch(run, request, times);
  onPhase('ready', 'answers');
  const wasBuilt = run.pin.imageTag !== null && run !== request.run;
  return {
    run,
    timings: {
      buildMs: wasBuilt ? Math.round(preparedMs - askedMs) : null,
      rolloutMs: Math.round(clock.nowMs() - preparedMs),
      ...times.end(),
    },
  };
}

/** A version is found or built once in its life: a wake asks no registry. */
async function prepare({ platform, run, signal, onPhase }: AttemptRequest): Promise<VersionRun> {
  if (run.pin.imageDigest !== null) return run;
  return { ...run, pin: await platform.prepare(run, { signal, onPhase }) };
}

/** Starts the version and, with switching `before`, switches the stable address at the same time. A failure of one ends the other. */
async function startAndSwitch(run: VersionRun, request: AttemptRequest, times: PhaseTimes): Promise<void> {
  const { platform, switching, suspects, clock } = request;
  const failed = new AbortController();
  const signal = AbortSignal.any([request.signal, failed.signal]);
  const onPhase: OnPhase = (phase, ...rest) => {
    times.enter(phase);
    request.onPhase(phase, ...rest);
  };
  let stopTimer = (): void => undefined;
  const starting = platform.start(run, { signal, onPhase, suspects }).then(() => {
    times.enter(switching === 'before' ? 'switch' : 'ready');
    if (switching === 'after' || failed.signal.aborted) return;
    stopTimer = clock.after(switchDeadlineMs, () => {
      const message = `version ${run.version} answers, but the stable address of ${run.app} still leads to other versions`;
      failed.abort(new AppError('platform_error', message, { phase: 'start' }));
    });
  });
  const steps: Promise<unknown>[] = [starting];
  if (switching === 'before') steps.push(platform.switchTo(run, signal));
  try {
    await Promise.all(steps);
  } catch (error) {
    const late: unknown = failed.signal.reason;
    failed.abort(new AppError('cancelled', 'the start has failed', { cause: error }));
    // The other step ends by the signal, so no work goes on behind the failure.
    await Promise.allSettled(steps);
    throw toAppError(late ?? error);
  } finally {
    stopTimer();
  }
}

const timingKeys = { schedule: 'scheduleMs', pull: 'pullMs', start: 'startMs', switch: 'switchMs' } as const;
type TimedPhase = keyof typeof timingKeys;
type PhaseTimings = { -readonly [Key in (typeof timingKeys)[TimedPhase]]?: NonNullable<StartTimings[Key]> };

/** How long a start was in each of its phases, as the platform reports them. A phase may come back. */
export class PhaseTimes {
  readonly #clock: Clock;
  readonly #totals = new Map<TimedPhase, number>();
  #current: { readonly phase: TimedPhase; readonly sinceMs: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Phases that have no timing of their own are not counted. */
  enter(phase: string): void {
    if (phase === this.#current?.phase) return;
    const nowMs = this.#clock.nowMs();
    if (this.#current) {
      const { phase: ended, sinceMs } = this.#current;
      this.#totals.set(ended, (this.#totals.get(ended) ?? 0) + nowMs - sinceMs);
    }
    this.#current = isTimed(phase) ? { phase, sinceMs: nowMs } : undefined;
  }

  /** Ends the current phase. @returns whole milliseconds of each phase that took any. */
  end(): PhaseTimings {
    this.enter('');
    const timings: PhaseTimings = {};
    for (const [phase, ms] of this.#totals) if (Math.round(ms) > 0) timings[timingKeys[phase]] = Math.round(ms);
    return timings;
  }
}

function isTimed(phase: string): phase is TimedPhase {
  return Object.hasOwn(timingKeys, phase);
}
