/** Switches the stable address of one app, outside the path of calls: retried until it works or another version is wanted. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { retry } from '../../../shared/wait/retry.ts';
import type { Platform, VersionRun } from '../../platform/platform.ts';

interface StableAddressDeps {
  readonly platform: Pick<Platform, 'switchTo'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the work: the app is deleted or the agent stops. */
  readonly signal: AbortSignal;
}

const pauses = { minMs: 500, maxMs: 30_000 };

export class StableAddress {
  readonly #deps: StableAddressDeps;
  #superseded = new AbortController();
  #work: Promise<void> = Promise.resolve();

  constructor(deps: StableAddressDeps) {
    this.#deps = deps;
  }

  /** Begins to switch the address. */
  pointTo(run: VersionRun): void {
    this.unfollow();
    const signal = AbortSignal.any([this.#superseded.signal, this.#deps.signal]);
    this.#work = Promise.all([this.#work, this.#switch(run, signal)]).then(() => undefined);
  }

  /** Ends what `pointTo` began, because a start switches the address itself from now on. */
  unfollow(): void {
    this.#superseded.abort(new AppError('superseded', 'the address is to lead to another version'));
    this.#superseded = new AbortController();
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.#work;
  }

  /** Rejects never: it ends when the address is switched or the signal aborts. */
  async #switch(run: VersionRun, signal: AbortSignal): Promise<void> {
    const { platform, clock, log } = this.#deps;
    const { app, version } = run;
    const message = 'the stable address could not be switched; trying again';
    await retry(() => platform.switchTo(run, signal), {
      clock,
      signal,
      backoff: pauses,
      isPassing: () => true,
      onRetry: ({ error }) => log.warn({ err: toAppError(error), app, version }, message),
    }).catch(() => undefined);
  }
}
