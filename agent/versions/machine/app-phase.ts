/**
 * The phase of one app, and since when it lasts. After a failure, calls may start the app again after a pause, which doubles with each
 * failure in a row.
 */
import type { StartTimings } from '../../../shared/protocol/routes.ts';
import type { Failure } from '../../../shared/protocol/views.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import type { Phase } from '../plan/serving.ts';

const minRetryMs = 5_000;
const maxRetryMs = 60_000;

export class AppPhase {
  readonly #clock: Clock;
  readonly #onRetry: () => void;
  #current: Phase = { kind: 'asleep' };
  #sinceMs: number;
  #retryMs = minRetryMs;
  #stopRetryTimer: (() => void) | undefined;

  /** @param onRetry called when the pause after a failure is over: the app is asleep then. */
  constructor(clock: Clock, onRetry: () => void) {
    this.#clock = clock;
    this.#onRetry = onRetry;
    this.#sinceMs = clock.nowMs();
  }

  get current(): Phase {
    return this.#current;
  }

  /** Whether the live version runs and answers: it is served, or drained and may be taken back. */
  get isAnswering(): boolean {
    return this.#current.kind === 'serving' || this.#current.kind === 'draining';
  }

  get sinceMs(): number {
    return this.#sinceMs;
  }

  sleep(): void {
    this.#enter({ kind: 'asleep' });
  }

  serve(timings: StartTimings): void {
    this.#enter({ kind: 'serving', timings });
  }

  /** @returns the phase, by which the caller can check later whether it still lasts. */
  drain(timings: StartTimings): Phase {
    return this.#enter({ kind: 'draining', timings });
  }

  /** Calls get the failure until someone acts. */
  fail(failure: Failure): void {
    this.#enter({ kind: 'failed', failure });
  }

  /** Calls get the failure until the pause is over. */
  failForNow(failure: Failure): void {
    this.#enter({ kind: 'failed', failure });
    this.#stopRetryTimer?.();
    this.#stopRetryTimer = this.#clock.after(this.#retryMs, () => {
      this.sleep();
      this.#onRetry();
    });
    this.#retryMs = Math.min(this.#retryMs * 2, maxRetryMs);
  }

  /** The failures in a row have ended: the next pause is the shortest again. */
  resetRetry(): void {
    this.#stopRetryTimer?.();
    this.#retryMs = minRetryMs;
  }

  #enter(phase: Phase): Phase {
    this.#current = phase;
    this.#sinceMs = this.#clock.nowMs();
    return phase;
  }
}
