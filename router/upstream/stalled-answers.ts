/**
 * Answers of one target that wait for their clients. Each keeps a connection to the app that other calls could have; so where calls
 * wait for one, and many are kept so, those go whose clients have taken nothing for longest.
 */
import { AppError } from '../../shared/errors.ts';

export interface StalledAnswer {
  /** Its client sees that the answer is not whole. */
  giveUp(error: AppError): void;
}

/** Without taking what waits. */
const patienceMs = 3_000;

export class StalledAnswers {
  /** Since when each has waited without a pause; in that order. */
  readonly #sinceMs = new Map<StalledAnswer, number>();

  get size(): number {
    return this.#sinceMs.size;
  }

  /** Whether it waits for its client, from now on. */
  note(answer: StalledAnswer, stalled: boolean, nowMs: number): void {
    if (!stalled) this.#sinceMs.delete(answer);
    else if (!this.#sinceMs.has(answer)) this.#sinceMs.set(answer, nowMs);
  }

  /** Gives up at most `count`, as long as more than `keep` are left. */
  shed(count: number, keep: number, nowMs: number): void {
    let left = count;
    for (const [answer, sinceMs] of this.#sinceMs) {
      if (left === 0 || this.#sinceMs.size <= keep || nowMs - sinceMs < patienceMs) return;
      left -= 1;
      this.#sinceMs.delete(answer);
      answer.giveUp(new AppError('upstream_reset', 'The client did not take its answer.'));
    }
  }
}
