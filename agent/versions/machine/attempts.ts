/** How often a start is tried: a fault of the platform until the start deadline, a version that has answered before three times. */
import { type AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { Platform, VersionRun } from '../../platform/platform.ts';
import type { VersionMetrics } from '../version-metrics.ts';
import type { AppBook } from './app-book.ts';
import type { StartJob } from './start-job.ts';
import { startVersion, type Switching } from './start-version.ts';

interface AttemptsDeps {
  readonly platform: Pick<Platform, 'prepare' | 'start' | 'switchTo'>;
  readonly book: Pick<AppBook, 'version' | 'run' | 'pinned'>;
  readonly metrics: Pick<VersionMetrics, 'started' | 'startFailed'>;
  readonly clock: Clock;
  readonly log: Log;
}

const maxAttempts = 3;
const attemptPauseMs = 500;

/** @throws AppError of the last attempt; any, once the signal of the job has aborted. */
export async function attempts(
  { platform, book, metrics, clock, log }: AttemptsDeps,
  job: StartJob,
  switching: Switching,
  suspects: readonly string[],
): Promise<StartTimings> {
  const askedMs = clock.nowMs();
  /** From when on the start deadline runs: a build has its own. */
  let startedMs: number | undefined;
  let rebuilds = 0;
  for (let attempt = 1; ; attempt += 1) {
    const stored = book.run(job.version);
    const run = rebuilds === 0 ? stored : { ...stored, pin: { ...stored.pin, imageDigest: null } };
    try {
      const outcome = await startVersion({
        platform,
        run,
        switching,
        suspects,
        signal: job.signal,
        clock,
        onPhase: (...progress) => job.progress(...progress),
        onPrepared: (pin) => {
          startedMs ??= clock.nowMs();
          // A built image is kept whether the app starts or not; the digest of a tag only once it has answered.
          if (run.spec.source !== undefined) book.pinned(job.version, pin);
        },
      });
      // Another version may have been declared in the very moment this one answered.
      job.signal.throwIfAborted();
      book.pinned(job.version, outcome.run.pin);
      metrics.started(outcome.timings);
      return outcome.timings;
    } catch (error) {
      job.signal.throwIfAborted();
      const failed = toAppError(error);
      if (mayBeLost(failed, run) && rebuilds === 0) {
        rebuilds = 1;
        startedMs = undefined;
        const message = 'the image could not be pulled; the registry is asked, and it is built anew if it is lost';
        log.warn({ err: failed, app: run.app, version: run.version }, message);
        job.progress('queued', message);
        continue;
      }
      const inTime = clock.nowMs() - (startedMs ?? askedMs) < run.config.container.start_deadline_secs * 1_000;
      const known = book.version(job.version).outcome === 'good' && attempt < maxAttempts;
      if (failed.code === 'platform_error' ? !inTime : !known) {
        metrics.startFailed(failed.code);
        throw failed;
      }
      log.warn({ err: failed, app: run.app, version: run.version, attempt }, 'start failed; tries again');
      job.progress('queued', `try ${attempt} failed (${failed.code}); tries again`);
      await sleep(clock, attemptPauseMs * Math.min(attempt, maxAttempts), job.signal);
      job.signal.throwIfAborted();
    }
  }
}

/**
 * Images of sources can be made again. A node that was sent to a mirror tells of the last place it asked, which may be one that it
 * cannot reach at all: what the registry says itself counts, and `prepare` asks it.
 */
function mayBeLost({ code }: AppError, { spec, pin }: VersionRun): boolean {
  return (
    (code === 'image_not_found' || code === 'image_pull_failed') &&
    spec.source !== undefined &&
    pin.imageDigest !== null
  );
}
