/** One attempt to make one version run: pin, switch, start. Owned by the app's machine, never by a caller. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { StartTimings } from '../../shared/protocol/routes.ts';
import type { Platform, VersionRun } from '../platform/platform.ts';

export interface StartRequest {
  readonly platform: Pick<Platform, 'pin' | 'start' | 'switchTo'>;
  readonly run: VersionRun;
  /**
   * before: nobody is served meanwhile, so the stable address is switched while the version starts, and the attempt ends
   * when both are done (strict) · after: it is switched once the version has started, which nobody waits for (relaxed,
   * and updates without a hold).
   */
  readonly switching: 'before' | 'after';
  readonly suspects: readonly string[];
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly onPhase: (phase: EnsureProgress['phase'], message: string) => void;
}

export interface StartOutcome {
  readonly timings: StartTimings;
  /** The run with the pin that was found now. */
  readonly run: VersionRun;
}

/** @throws AppError as `Platform.pin` and `Platform.start` do; `cancelled` when the signal aborts. */
export async function startVersion(request: StartRequest): Promise<StartOutcome> {
  const { platform, signal, onPhase, suspects } = request;
  const beganMs = request.now();
  const run = await pinned(request);
  const inner = new AbortController();
  const either = AbortSignal.any([signal, inner.signal]);
  const steps: Promise<unknown>[] = [platform.start(run, { signal: either, onPhase, suspects })];
  if (request.switching === 'before') steps.push(platform.switchTo(run, either));
  try {
    await Promise.all(steps);
  } catch (error) {
    inner.abort(new AppError('cancelled', 'the start has failed', { cause: error }));
    // The other step ends by the signal: nothing goes on behind the failure.
    await Promise.allSettled(steps);
    throw toAppError(error);
  }
  onPhase('ready', 'answers');
  return { run, timings: { buildMs: null, rolloutMs: Math.round(request.now() - beganMs) } };
}

/** The digest is asked for once in the life of a version: a wake touches no registry. */
async function pinned({ platform, run, signal, onPhase }: StartRequest): Promise<VersionRun> {
  if (run.spec.image === undefined || run.pin.imageDigest !== null) return run;
  onPhase('source', 'asks the registry for the digest of the image');
  try {
    return { ...run, pin: await platform.pin(run.spec, signal) };
  } catch (error) {
    // The nodes may know a way to the registry that the agent does not (a mirror): let them try by tag.
    if (toAppError(error).code === 'registry_unavailable') return run;
    throw error;
  }
}
