/** Checks the deadlines of all sockets in one sweep; timers would cost each call two of them. */
import type { Clock } from '../../shared/wait/clock.ts';

/** Has deadlines, and acts on those that are over when it is asked to check them. */
export interface Timed {
  checkDeadlines(nowMs: number): void;
}

/** Interval of the sweep, by which a deadline may be noticed too late. */
const sweepMs = 200;

export class Deadlines {
  readonly #clock: Clock;
  readonly #timed = new Set<Timed>();
  #cancel: (() => void) | undefined;
  #closed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(timed: Timed): void {
    if (this.#closed) return;
    this.#timed.add(timed);
    this.#cancel ??= this.#clock.after(sweepMs, this.#sweep);
  }

  delete(timed: Timed): void {
    this.#timed.delete(timed);
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#timed.clear();
  }

  readonly #sweep = (): void => {
    this.#cancel = undefined;
    const nowMs = this.#clock.nowMs();
    for (const timed of this.#timed) timed.checkDeadlines(nowMs);
    if (this.#timed.size > 0) this.#cancel ??= this.#clock.after(sweepMs, this.#sweep);
  };
}
