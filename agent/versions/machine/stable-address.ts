/** Moves the stable address of one app behind the path of calls: tried until it works, or until another version is meant. */
import { backoff } from '../../../shared/wait/backoff.ts';
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { Platform, VersionRun } from '../../platform/platform.ts';

interface StableAddressDeps {
  readonly platform: Pick<Platform, 'switchTo'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends the work: the app is deleted or the agent stops. */
  readonly signal: AbortSignal;
}

export class StableAddress {
  readonly #deps: StableAddressDeps;
  #overtaken = new AbortController();
  #work: Promise<void> = Promise.resolve();

  constructor(deps: StableAddressDeps) {
    this.#deps = deps;
  }

  pointTo(run: VersionRun): void {
    this.letGo();
    const signal = AbortSignal.any([this.#overtaken.signal, this.#deps.signal]);
    this.#work = Promise.all([this.#work, this.#tryUntilItWorks(run, signal)]).then(() => undefined);
  }

  /** Somebody else moves it now: what was begun here must not move it back. */
  letGo(): void {
    this.#overtaken.abort(new AppError('superseded', 'the address is to lead to another version'));
    this.#overtaken = new AbortController();
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.#work;
  }

  async #tryUntilItWorks(run: VersionRun, signal: AbortSignal): Promise<void> {
    const { platform, clock, log } = this.#deps;
    const pause = backoff({ minMs: 500, maxMs: 30_000 });
    while (!signal.aborted) {
      try {
        await platform.switchTo(run, signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const { app, version } = run;
        log.warn({ err: toAppError(error), app, version }, 'the stable address could not be switched; tried again');
      }
      await sleep(clock, pause.next(), signal); // the loop looks at the signal
    }
  }
}
