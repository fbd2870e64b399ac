/**
 * Answers of one target that wait for their clients. Each holds a connection to the app that other calls could use. So while
 * calls wait for a connection and many are held like this, the answers stalled for longest are given up.
 */
import { AppError } from '../../shared/errors.ts';

export interface StalledAnswer {
  /** Ends the answer so that its client sees that it is not whole. */
  giveUp(error: AppError): void;
}

/** An answer is given up only after its client has taken nothing for this long. */
const patienceMs = 3_000;

export class StalledAnswers {
  /** When each answer stalled, in that order. */
  readonly #sinceMs = new Map<StalledAnswer, number>();

  get size(): number {
    return this.#sinceMs.size;
  }

  /** @param stalled whether the answer waits for its client from now on. */
  note(answer: StalledAnswer, stalled: boolean, nowMs: number): void {
    if (!stalled) this.#sinceMs.delete(answer);
    else if (!this.#sinceMs.has(answer)) this.#sinceMs.set(answer, nowMs);
  }

  /** Gives up at most `count` answers, while more than `keep` are left. */
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
