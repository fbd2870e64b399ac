/** How long a start was in each of its phases, as the platform tells them; it may go back to one. */
import type { Clock } from '../../../shared/wait/clock.ts';
import type { StartTimings } from '../../../shared/protocol/routes.ts';

const keys = { schedule: 'scheduleMs', pull: 'pullMs', start: 'startMs', switch: 'switchMs' } as const;
type TimedPhase = keyof typeof keys;
type PhaseTimings = { -readonly [Key in (typeof keys)[TimedPhase]]?: NonNullable<StartTimings[Key]> };

export class PhaseTimes {
  readonly #clock: Clock;
  readonly #totals = new Map<TimedPhase, number>();
  #now: { readonly phase: TimedPhase; readonly sinceMs: number } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Another phase than these is counted as none. */
  enter(phase: string): void {
    if (phase === this.#now?.phase) return;
    const nowMs = this.#clock.nowMs();
    if (this.#now) this.#totals.set(this.#now.phase, this.#totalOf(this.#now.phase) + nowMs - this.#now.sinceMs);
    this.#now = isTimed(phase) ? { phase, sinceMs: nowMs } : undefined;
  }

  /** Whole milliseconds of each phase that took any; ends the last one. */
  end(): PhaseTimings {
    this.enter('');
    const timings: PhaseTimings = {};
    for (const [phase, ms] of this.#totals) if (Math.round(ms) > 0) timings[keys[phase]] = Math.round(ms);
    return timings;
  }

  #totalOf(phase: TimedPhase): number {
    return this.#totals.get(phase) ?? 0;
  }
}

function isTimed(phase: string): phase is TimedPhase {
  return Object.hasOwn(keys, phase);
}
