/** The builds that run in this process, by tag: each can be cancelled, and all end when the agent stops. */
import { AppError } from '../../shared/errors.ts';

export class RunningBuilds {
  readonly #stop = new AbortController();
  readonly #running = new Map<string, Set<AbortController>>();
  readonly #ends = new Set<Promise<unknown>>();

  /** Aborts when the agent stops. */
  get stopped(): AbortSignal {
    return this.#stop.signal;
  }

  /**
   * Runs a build; its signal aborts with the caller's, by `cancel` and by `close`. Two builds of one tag may run for a moment.
   * @throws what the build throws; the reason of the signal once it has aborted.
   */
  async run<T>(tag: string, signal: AbortSignal, build: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const own = new AbortController();
    const ended = AbortSignal.any([signal, own.signal, this.#stop.signal]);
    ended.throwIfAborted();
    const ofTag = this.#running.get(tag) ?? new Set();
    this.#running.set(tag, ofTag.add(own));
    const building = build(ended);
    this.#ends.add(building);
    try {
      return await building;
    } catch (error) {
      ended.throwIfAborted();
      throw error;
    } finally {
      this.#ends.delete(building);
      ofTag.delete(own);
      if (ofTag.size === 0) this.#running.delete(tag);
    }
  }

  cancel(tag: string): void {
    const reason = new AppError('cancelled', 'the build was cancelled', { phase: 'build' });
    for (const build of this.#running.get(tag) ?? []) build.abort(reason);
  }

  /** Ends every build; resolves when none runs. */
  async close(): Promise<void> {
    this.#stop.abort(new AppError('cancelled', 'the agent is shutting down', { phase: 'build' }));
    await Promise.allSettled(this.#ends);
  }
}
