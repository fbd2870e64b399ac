/** The removal of what deleted apps leave on the platform: waited for up to a deadline, then gone on with behind. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Log } from '../../../shared/log.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import type { Platform } from '../../platform/platform.ts';

interface RemovalsDeps {
  readonly platform: Pick<Platform, 'remove'>;
  readonly clock: Clock;
  readonly log: Log;
  /** The agent stops; the next leader goes on, with what nobody names any more. */
  readonly signal: AbortSignal;
}

/** A pod on a lost node may be there for ever: nobody waits for that. */
const waitMs = 30_000;
const againMs = 2_000;

export class Removals {
  readonly #deps: RemovalsDeps;
  readonly #under = new Map<string, { readonly abort: AbortController; readonly done: Promise<void> }>();

  constructor(deps: RemovalsDeps) {
    this.#deps = deps;
  }

  /** @returns what was removed. @throws AppError platform_error: not removed yet, which goes on until it is. */
  async remove(app: string, volumes: boolean): Promise<string[]> {
    const { clock, signal } = this.#deps;
    const abort = new AbortController();
    const first = Promise.withResolvers<string[]>();
    const done = this.#untilGone(app, volumes, AbortSignal.any([abort.signal, signal]), first).finally(() =>
      this.#under.delete(app),
    );
    this.#under.set(app, { abort, done });
    const cancel = clock.after(waitMs, () => {
      const message = `app ${app} is deleted; some of its objects are still there, and their removal goes on`;
      first.reject(new AppError('platform_error', message));
    });
    try {
      return await first.promise;
    } finally {
      cancel();
    }
  }

  /** There is an app of this name again: nothing of it may be removed. */
  async cut(app: string): Promise<void> {
    const removal = this.#under.get(app);
    removal?.abort.abort(new AppError('cancelled', `app ${app} was declared again`));
    await removal?.done;
  }

  /** Resolves when none is under way. */
  async idle(): Promise<void> {
    await Promise.all([...this.#under.values()].map(({ done }) => done));
  }

  async #untilGone(
    app: string,
    volumes: boolean,
    signal: AbortSignal,
    first: PromiseWithResolvers<string[]>,
  ): Promise<void> {
    const { platform, clock, log } = this.#deps;
    while (!signal.aborted) {
      try {
        first.resolve(await platform.remove(app, { volumes, signal }));
        return;
      } catch (error) {
        first.reject(toAppError(error));
        if (!signal.aborted) log.warn({ err: toAppError(error), app }, 'objects of a deleted app are still there');
      }
      await sleep(clock, againMs, signal); // the loop looks at the signal
    }
    first.reject(toAppError(signal.reason));
  }
}
