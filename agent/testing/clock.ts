/** A clock that stands still until a test moves it. */
import type { Clock } from '../../shared/wait/clock.ts';

export interface TestClock extends Clock {
  /** Runs what falls due, in order, and lets each have its effects. */
  advance(ms: number): Promise<void>;
}

export function createTestClock(): TestClock {
  let nowMs = 0;
  const timers = new Map<() => void, number>();
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    nowMs: () => nowMs,
    after(delayMs, task) {
      const due = (): void => task();
      timers.set(due, nowMs + delayMs);
      return () => timers.delete(due);
    },
    async advance(ms) {
      const untilMs = nowMs + ms;
      await settle();
      for (;;) {
        const [next] = [...timers].filter(([, atMs]) => atMs <= untilMs).sort(([, a], [, b]) => a - b);
        if (next === undefined) break;
        timers.delete(next[0]);
        nowMs = Math.max(nowMs, next[1]);
        next[0]();
        await settle();
      }
      nowMs = untilMs;
      await settle();
    },
  };
}
