/** One piece of work that several wait for: it goes on while one of them does, and is aborted when the last has left. */
import { AppError } from '../errors.ts';

export class SharedTask {
  /** Resolves when the work has ended, however. */
  readonly settled: Promise<void>;
  readonly #controller = new AbortController();
  readonly #done: Promise<void>;
  #waiting = 0;
  #settled = false;

  /** @param work must end soon after its signal aborts, having undone what it did. */
  constructor(work: (signal: AbortSignal) => Promise<void>) {
    this.#done = work(this.#controller.signal).finally(() => {
      this.#settled = true;
    });
    // Its failure is told to those who wait; there may be none any more.
    this.settled = this.#done.catch(() => {});
  }

  /** Aborted: not to be joined any more. */
  get aborted(): boolean {
    return this.#controller.signal.aborted;
  }

  /** @throws what the work threw; AppError cancelled when the signal aborts, after the undoing where this was the last. */
  async join(signal: AbortSignal): Promise<void> {
    this.#waiting += 1;
    const { promise: left, reject } = Promise.withResolvers<never>();
    left.catch(() => {});
    const leave = (): void => reject(new AppError('cancelled', 'the caller of the start went away'));
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    try {
      // The work goes on when the wait is left: it is owned by this object, which ends it below.
      await Promise.race([this.#done, left]);
    } catch (error) {
      if (this.#waiting === 1 && !this.#settled) await this.abort(error);
      throw error;
    } finally {
      this.#waiting -= 1;
      signal.removeEventListener('abort', leave);
    }
  }

  /** Ends the work; resolves when it has ended. Those who wait get the reason. */
  async abort(reason: unknown): Promise<void> {
    this.#controller.abort(reason);
    await this.settled;
  }
}
