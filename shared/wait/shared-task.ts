/** One piece of work that several wait for, each told of its progress. Leaving the wait frees only the one who leaves. */
import { AppError } from '../errors.ts';
import { cancellation, untilAborted } from './abort.ts';

export interface SharedTaskOptions {
  /**
   * Who ends the work. `waiters` (without it): it is aborted when the last one leaves. `creator`: it goes on whoever
   * leaves, and only `abort` ends it.
   */
  readonly owner?: 'waiters' | 'creator';
  /** Whether the last one to leave waits until the work has undone what it did. True without it. */
  readonly waitsForUndo?: boolean;
  /** The message of the work's abort reason, AppError cancelled, when the last one has left. */
  readonly abandonedMessage?: string;
}

/** T is the result, P what is told of the progress. */
export class SharedTask<T = void, P = never> {
  /** The outcome. It may be ignored: a failure that nobody waits for is no unhandled rejection. */
  readonly result: Promise<T>;
  /** Resolves when the work has ended, however. */
  readonly settled: Promise<void>;
  readonly #options: Required<SharedTaskOptions>;
  readonly #controller = new AbortController();
  readonly #listeners = new Set<(progress: P) => void>();
  #last: { readonly progress: P } | undefined;
  #waiting = 0;
  #hasSettled = false;
  #isAbandoned = false;

  /**
   * @param work must end soon after its signal aborts, having undone what it did. It begins in the next microtask, so
   * that the owner can store the task first; if it is aborted before, it never begins.
   */
  constructor(
    work: (signal: AbortSignal, progress: (progress: P) => void) => Promise<T>,
    options: SharedTaskOptions = {},
  ) {
    this.#options = { owner: 'waiters', waitsForUndo: true, abandonedMessage: 'nobody waits any more', ...options };
    this.result = Promise.resolve()
      .then(() => {
        this.signal.throwIfAborted();
        return work(this.signal, this.progress);
      })
      .finally(() => {
        this.#hasSettled = true;
      });
    this.settled = this.result.then(
      () => undefined,
      () => undefined, // told to those who wait
    );
  }

  /** Aborts when the work is to end. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The work is to end: the task must not be joined any more. */
  get aborted(): boolean {
    return this.signal.aborted;
  }

  /** The work was aborted because the last one who waited has left. */
  get abandoned(): boolean {
    return this.#isAbandoned;
  }

  /** Tells all who wait, and later those who join: they get the last progress first. */
  readonly progress = (progress: P): void => {
    this.#last = { progress };
    for (const listener of this.#listeners) listener(progress);
  };

  /** @throws what the work throws; when the signal aborts its AppError reason, or AppError cancelled. */
  async join(signal: AbortSignal, onProgress?: (progress: P) => void): Promise<T> {
    // The same function may join twice, and is then told twice.
    const listener = (progress: P): void => onProgress?.(progress);
    this.#waiting += 1;
    this.#listeners.add(listener);
    if (this.#last && !signal.aborted) listener(this.#last.progress);
    let left = false;
    try {
      return await untilAborted(this.result, signal);
    } catch (error) {
      left = signal.aborted && error === signal.reason;
      throw left ? cancellation(signal) : error;
    } finally {
      this.#waiting -= 1;
      this.#listeners.delete(listener);
      if (left && this.#waiting === 0) await this.#abandon();
    }
  }

  /** Ends the work; resolves when it has ended. Those who wait get what it throws, usually the reason. */
  async abort(reason: unknown): Promise<void> {
    this.#controller.abort(reason);
    await this.settled;
  }

  async #abandon(): Promise<void> {
    const { owner, waitsForUndo, abandonedMessage } = this.#options;
    if (owner === 'creator' || this.#hasSettled) return;
    if (!this.aborted) {
      this.#isAbandoned = true;
      this.#controller.abort(new AppError('cancelled', abandonedMessage));
    }
    if (waitsForUndo) await this.settled;
  }
}
