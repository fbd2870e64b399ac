/** Clocks that move when a test says so. */
import { systemClock, type Clock } from '../clock.ts';
import { turns } from './until.ts';

export interface ManualClock extends Clock {
  /** The number of timers that have not run and were not taken back: 0 at the end of a test that leaves nothing behind. */
  readonly pending: number;
  /** Moves the time and runs what falls due on the way, in order. */
  advance(ms: number): void;
  /** The same, and lets the effects of each timer happen before the next one runs. */
  advanceAndSettle(ms: number): Promise<void>;
  /** Moves the time and runs nothing: what a stopped process finds when it goes on. */
  jump(ms: number): void;
}

interface Timer {
  readonly atMs: number;
  readonly task: () => void;
}

/** A clock that stands still between the moves. */
export function createManualClock(startMs = 1_000_000): ManualClock {
  let now = startMs;
  const timers = new Set<Timer>();

  /** Runs the next timer that is due by then. @returns false where there is none. */
  function runNext(endMs: number): boolean {
    const [next] = [...timers].filter(({ atMs }) => atMs <= endMs).toSorted((a, b) => a.atMs - b.atMs);
    if (!next) return false;
    timers.delete(next);
    now = Math.max(now, next.atMs);
    next.task();
    return true;
  }

  return {
    get pending() {
      return timers.size;
    },
    nowMs: () => now,
    after(delayMs, task) {
      const timer = { atMs: now + delayMs, task };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    advance(ms) {
      const endMs = now + ms;
      while (runNext(endMs));
      now = endMs;
    },
    async advanceAndSettle(ms) {
      const endMs = now + ms;
      do await turns(5);
      while (runNext(endMs));
      now = endMs;
      await turns(5);
    },
    jump(ms) {
      now += ms;
    },
  };
}

/** The system clock, which a test can move ahead besides: for tests with real sockets. */
export function createShiftedClock(): Omit<ManualClock, 'advanceAndSettle'> {
  let offsetMs = 0;
  const timers = new Set<Timer & { readonly stop: () => void }>();
  const nowMs = (): number => systemClock.nowMs() + offsetMs;
  return {
    nowMs,
    get pending() {
      return timers.size;
    },
    after(delayMs, task) {
      const stop = systemClock.after(delayMs, () => {
        if (timers.delete(timer)) task();
      });
      const timer = { atMs: nowMs() + delayMs, stop, task };
      timers.add(timer);
      return () => {
        timers.delete(timer);
        stop();
      };
    },
    advance(ms) {
      offsetMs += ms;
      const due = [...timers].filter(({ atMs }) => atMs <= nowMs()).toSorted((a, b) => a.atMs - b.atMs);
      for (const timer of due) {
        // One that ran before may have taken it back.
        if (!timers.delete(timer)) continue;
        timer.stop();
        timer.task();
      }
    },
    jump(ms) {
      offsetMs += ms;
    },
  };
}
