/** Removes what deleted apps leave on the platform. Callers wait for the first try; the removal goes on until it is done. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { retry } from '../../shared/wait/retry.ts';
import type { Platform } from '../platform/platform.ts';

interface RemovalsDeps {
  readonly platform: Pick<Platform, 'remove'>;
  readonly clock: Clock;
  readonly log: Log;
  /** Ends every removal when the agent stops. The next leader removes what belongs to no app. */
  readonly signal: AbortSignal;
}

/** A pod on a lost node may stay for ever, so callers wait no longer than this. */
const waitMs = 30_000;
const retryMs = 2_000;

export class Removals {
  readonly #deps: RemovalsDeps;
  readonly #running = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>();

  constructor(deps: RemovalsDeps) {
    this.#deps = deps;
  }

  /** @returns what was removed, as `Kind/name`. @throws AppError of the first try; platform_error when that takes too long. */
  async remove(app: string, volumes: boolean): Promise<string[]> {
    const { platform, clock, log } = this.#deps;
    const abort = new AbortController();
    const signal = AbortSignal.any([abort.signal, this.#deps.signal]);
    const first = Promise.withResolvers<string[]>();
    const done = retry(() => platform.remove(app, { volumes, signal }), {
      clock,
      signal,
      backoff: { minMs: retryMs, maxMs: retryMs },
      isPassing: () => true,
      onRetry({ error }) {
        first.reject(toAppError(error));
        log.warn({ err: toAppError(error), app }, 'objects of a deleted app are still there; trying again');
      },
    })
      .then(first.resolve, first.reject)
      .finally(() => this.#running.delete(app));
    this.#running.set(app, { abort, done });
    const stopTimer = clock.after(waitMs, () => {
      const message = `app ${app} is deleted; some of its objects are still there, and their removal goes on`;
      first.reject(new AppError('platform_error', message));
    });
    try {
      return await first.promise;
    } finally {
      stopTimer();
    }
  }

  /** Call it before an app of this name is declared again: nothing of the new app may be removed. */
  async end(app: string): Promise<void> {
    const removal = this.#running.get(app);
    removal?.abort.abort(new AppError('cancelled', `app ${app} was declared again`));
    await removal?.done;
  }

  /** Resolves when no removal is under way. */
  async idle(): Promise<void> {
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }
}
