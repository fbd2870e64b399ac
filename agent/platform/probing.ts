/** Probes apps that are starting until they answer, at a pace that all of them share. */
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

/**
 * Most apps open their port within a moment, and calls are held all that time; an app that does not is probed less and less often,
 * as long as it takes.
 */
function intervalMs(probedForMs: number): number {
  if (probedForMs < 1_000) return 5;
  return probedForMs < 15_000 ? 15 : 250;
}
/** When many apps do not answer, each is probed less often, so that all together stay below this. */
const maxProbesPerSecond = 2_000;

/**
 * How long a probe waits for an answer once its connection is accepted. An app whose first answer takes long (it compiles its first page)
 * is not asked over and over; a connection that got lost is tried again. Growing with the time that has passed, the wait exceeds at last
 * what any app needs, even one that works through all earlier requests first.
 */
function patienceMs(probedForMs: number): number {
  return Math.min(120_000, Math.max(10_000, probedForMs));
}

export class Probing {
  readonly #clock: Clock;
  #running = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * @param probe gets the time that it may wait for an answer, in milliseconds.
   * @returns the first answer that is not undefined; undefined once the signal has aborted.
   */
  async untilAnswered<T>(
    probe: (answerTimeoutMs: number) => Promise<T | undefined>,
    signal: AbortSignal,
  ): Promise<T | undefined> {
    const beganMs = this.#clock.nowMs();
    this.#running += 1;
    try {
      while (!signal.aborted) {
        const probedMs = this.#clock.nowMs();
        const answer = await probe(patienceMs(probedMs - beganMs));
        if (answer !== undefined) return signal.aborted ? undefined : answer;
        const nowMs = this.#clock.nowMs();
        const leastMs = (this.#running / maxProbesPerSecond) * 1_000;
        // The interval is from probe to probe: the time that one takes to fail is part of it.
        await sleep(this.#clock, Math.max(1, leastMs, intervalMs(nowMs - beganMs) - (nowMs - probedMs)), signal);
      }
      return undefined;
    } finally {
      this.#running -= 1;
    }
  }
}
