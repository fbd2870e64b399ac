/** Work that several wait for, each told of its progress. It goes on while one of them does; when the last has left it is abandoned. */
import { AppError, toAppError } from '../../shared/errors.ts';
import type { OnPhase } from '../platform/platform.ts';

export interface Waiting {
  readonly signal: AbortSignal;
  readonly onPhase: OnPhase;
}

export class SharedWork<T> {
  /** Resolves when the work has ended, however. */
  readonly settled: Promise<void>;
  readonly #controller = new AbortController();
  readonly #result: Promise<T>;
  readonly #listeners = new Set<OnPhase>();
  #last: Parameters<OnPhase> | undefined;
  #waiting = 0;
  #abandoned = false;
  #ended = false;

  /** @param work ends soon after its signal aborts. Begun in the next microtask, so that its owner can keep it first. */
  constructor(work: (self: SharedWork<T>) => Promise<T>) {
    this.#result = Promise.resolve()
      .then(() => work(this))
      .finally(() => {
        this.#ended = true;
      });
    this.settled = this.#result.then(
      () => undefined,
      () => undefined, // told to those who wait; there may be none any more
    );
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Aborted because nobody waits any more. */
  get abandoned(): boolean {
    return this.#abandoned;
  }

  readonly progress: OnPhase = (...progress) => {
    this.#last = progress;
    for (const listener of this.#listeners) listener(...progress);
  };

  /** @throws what the work threw; the reason of the signal. */
  async join({ signal, onPhase }: Waiting): Promise<T> {
    if (signal.aborted) throw toAppError(signal.reason);
    // One function may wait twice; it is told twice.
    const listener: OnPhase = (...progress) => onPhase(...progress);
    this.#waiting += 1;
    this.#listeners.add(listener);
    if (this.#last) onPhase(...this.#last);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const leave = (): void => reject(toAppError(signal.reason));
    signal.addEventListener('abort', leave, { once: true });
    this.#result.then(resolve, reject);
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', leave);
      this.#listeners.delete(listener);
      this.#waiting -= 1;
      if (this.#waiting === 0 && !this.#ended && !this.signal.aborted) {
        this.#abandoned = true;
        this.abort(new AppError('cancelled', 'nobody wants this image any more'));
      }
    }
  }

  /** Ends the work for all who wait. */
  abort(reason: AppError): void {
    this.#controller.abort(reason);
  }
}
