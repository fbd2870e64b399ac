/** A clock that moves when a test says so. */
import type { Clock } from '../clock.ts';

export interface ManualClock extends Clock {
  /** Runs what is due on the way, in order. */
  advance(ms: number): void;
}

export function createManualClock(startMs = 1_000_000): ManualClock {
  let now = startMs;
  const due = new Set<{ readonly atMs: number; readonly task: () => void }>();
  return {
    nowMs: () => now,
    after(delayMs, task) {
      const entry = { atMs: now + delayMs, task };
      due.add(entry);
      return () => {
        due.delete(entry);
      };
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = [...due].filter((entry) => entry.atMs <= end).toSorted((a, b) => a.atMs - b.atMs);
        if (!next) break;
        due.delete(next);
        now = next.atMs;
        next.task();
      }
      now = end;
    },
  };
}
