/** How often a start is tried: a fault of the platform until the start deadline, a version that has answered before three times. */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { StartTimings } from '../../shared/protocol/routes.ts';
import type { Clock } from '../../shared/clock.ts';
import { sleep } from '../../shared/sleep.ts';
import type { Platform } from '../platform/platform.ts';
import type { AppBook } from './app-book.ts';
import type { StartJob } from './start-job.ts';
import { startVersion, type Switching } from './start-version.ts';

interface AttemptsDeps {
  readonly platform: Pick<Platform, 'pin' | 'start' | 'switchTo'>;
  readonly book: Pick<AppBook, 'version' | 'run' | 'pinned'>;
  readonly clock: Clock;
  readonly log: Log;
}

const maxAttempts = 3;
const attemptPauseMs = 500;

/** @throws AppError of the last attempt; any, once the signal of the job has aborted. */
export async function attempts(
  { platform, book, clock, log }: AttemptsDeps,
  job: StartJob,
  switching: Switching,
  suspects: readonly string[],
): Promise<StartTimings> {
  const beganMs = clock.nowMs();
  for (let attempt = 1; ; attempt += 1) {
    const run = book.run(job.version);
    try {
      const outcome = await startVersion({
        platform,
        run,
        switching,
        suspects,
        signal: job.signal,
        clock,
        onPhase: (phase, message) => job.progress(phase, message),
      });
      // Another version may have been declared in the very moment this one answered.
      job.signal.throwIfAborted();
      if (outcome.run.pin.imageDigest !== null) book.pinned(job.version, outcome.run.pin.imageDigest);
      return outcome.timings;
    } catch (error) {
      job.signal.throwIfAborted();
      const failed = toAppError(error);
      const inTime = clock.nowMs() - beganMs < run.config.container.start_deadline_secs * 1_000;
      const known = book.version(job.version).outcome === 'good' && attempt < maxAttempts;
      if (failed.code === 'platform_error' ? !inTime : !known) throw failed;
      log.warn({ err: failed, app: run.app, version: run.version, attempt }, 'start failed; tries again');
      job.progress('queued', `try ${attempt} failed (${failed.code}); tries again`);
      await sleep(clock, attemptPauseMs * Math.min(attempt, maxAttempts), job.signal);
      job.signal.throwIfAborted();
    }
  }
}
