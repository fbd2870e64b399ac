/** When calls of an app that failed may try again by themselves: after a pause that doubles with each failure in a row. */
import type { Clock } from '../../../shared/wait/clock.ts';

const minMs = 5_000;
const maxMs = 60_000;

export class RetryTimer {
  readonly #clock: Clock;
  readonly #task: () => void;
  #cancel: (() => void) | undefined;
  #pauseMs = minMs;

  constructor(clock: Clock, task: () => void) {
    this.#clock = clock;
    this.#task = task;
  }

  start(): void {
    this.#cancel?.();
    this.#cancel = this.#clock.after(this.#pauseMs, this.#task);
    this.#pauseMs = Math.min(this.#pauseMs * 2, maxMs);
  }

  /** Not needed any more: the next pause is a short one again. */
  reset(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#pauseMs = minMs;
  }
}
