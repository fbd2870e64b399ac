/** Asks apps that are being started again and again until they answer, at a pace that many of them share. */
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

/**
 * Most apps open their port within a moment, and all that time somebody waits; one that does not may take as long as it likes and
 * is asked less and less often.
 */
function intervalMs(askedForMs: number): number {
  if (askedForMs < 1_000) return 5;
  return askedForMs < 15_000 ? 15 : 250;
}
/** With many apps that do not answer, the pace goes down so that all together are asked no more often than this. */
const maxAsksPerSecond = 2_000;

export class Asking {
  readonly #clock: Clock;
  #asked = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns the first answer; undefined once the signal has aborted. */
  async untilAnswered<T>(ask: () => Promise<T | undefined>, signal: AbortSignal): Promise<T | undefined> {
    const beganMs = this.#clock.nowMs();
    this.#asked += 1;
    try {
      while (!signal.aborted) {
        const askedMs = this.#clock.nowMs();
        const answer = await ask();
        if (answer !== undefined) return signal.aborted ? undefined : answer;
        const nowMs = this.#clock.nowMs();
        const leastMs = (this.#asked / maxAsksPerSecond) * 1_000;
        // From question to question: what one takes to fail is no pause on top.
        await sleep(this.#clock, Math.max(1, leastMs, intervalMs(nowMs - beganMs) - (nowMs - askedMs)), signal);
      }
      return undefined;
    } finally {
      this.#asked -= 1;
    }
  }
}
