/**
 * Declarations, one at a time: each is written to Postgres in one transaction. When the outcome of a commit is unknown, the apps are read
 * again before the next declaration.
 */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { withDeadline } from '../../shared/wait/abort.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { createMutex } from '../../shared/wait/mutex.ts';
import { retry } from '../../shared/wait/retry.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { AppStore, Declaration } from '../store/app-store.ts';
import type { Outbox } from '../store/outbox.ts';
import type { AppRecord } from '../store/records.ts';

export interface DeclarationsDeps {
  readonly store: Pick<AppStore, 'declare' | 'load'>;
  readonly outbox: Pick<Outbox, 'flushed'>;
  readonly epoch: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when Postgres refuses a write because another agent leads. */
  readonly onFenced: (error: AppError) => void;
}

const flushMs = 5_000;
const reloadMs = 2_000;
/** Besides the one whose turn it is. */
const maxWaiting = 99;

export class Declarations {
  readonly #deps: DeclarationsDeps;
  readonly #reload: (records: readonly AppRecord[]) => Promise<void>;
  readonly #signal: AbortSignal;
  readonly #turns = createMutex({
    maxWaiting,
    full: () => new AppError('too_many_calls', 'too many declarations wait for their turn'),
  });
  /** Postgres may have a declaration that this agent does not know. */
  #unsure = false;
  #reloading: Promise<void> = Promise.resolve();

  /**
   * @param reload takes over what Postgres has.
   * @param signal ends every wait: the agent stops.
   */
  constructor(deps: DeclarationsDeps, reload: (records: readonly AppRecord[]) => Promise<void>, signal: AbortSignal) {
    this.#deps = deps;
    this.#reload = reload;
    this.#signal = signal;
  }

  /** Runs the work when it is its turn. @throws AppError too_many_calls; the signal's reason; what the work throws. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    return await this.#turns.run(this.#signal, async () => {
      if (this.#unsure) {
        await this.#reload(await this.#deps.store.load());
        this.#unsure = false;
      }
      return await work();
    });
  }

  /** @throws AppError store_unavailable, fenced, route_conflict */
  async commit(declaration: Declaration): Promise<void> {
    const { outbox, store, epoch, clock, log, onFenced } = this.#deps;
    // Nothing that was learnt before the declaration may be written after it.
    try {
      await withDeadline({ clock, ms: flushMs, signal: this.#signal }, (signal) => outbox.flushed(signal));
    } catch (cause) {
      const message = 'Postgres cannot be reached: earlier records still wait to be written';
      throw new AppError('store_unavailable', message, { cause });
    }
    try {
      await store.declare(epoch, declaration);
    } catch (error) {
      const failure = toAppError(error);
      log.warn({ err: failure }, 'a declaration was not written');
      if (failure.code === 'fenced') onFenced(failure);
      // The connection may have broken after the commit, so the declaration may be in Postgres all the same.
      if (failure.code === 'store_unavailable') this.#reloadLater();
      throw error;
    }
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    await Promise.all([this.#turns.idle(), this.#reloading]);
  }

  #reloadLater(): void {
    if (this.#unsure) return;
    this.#unsure = true;
    const { clock, log } = this.#deps;
    const reloadInTurn = async (): Promise<void> => {
      if (this.#unsure) await this.inTurn(async () => undefined);
    };
    const run = async (): Promise<void> => {
      await sleep(clock, reloadMs, this.#signal);
      await retry(reloadInTurn, {
        clock,
        signal: this.#signal,
        backoff: { minMs: reloadMs, maxMs: reloadMs },
        isPassing: () => true,
        onRetry: ({ error }) => log.warn({ err: toAppError(error) }, 'could not read the apps again; trying again'),
      });
    };
    this.#reloading = run().catch(() => undefined); // ended by the signal
  }
}
