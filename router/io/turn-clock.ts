/**
 * The time, read once in a turn of the event loop: a call asks for it eight times. Good for durations and deadlines of calls; not
 * for a lease, which may have run out while the process was stopped in the middle of a turn.
 */
import { systemClock, type Clock } from '../../shared/wait/clock.ts';

export function createTurnClock(): Clock {
  let nowMs = 0;
  let known = false;
  const forget = (): void => {
    known = false;
  };
  return {
    nowMs() {
      if (known) return nowMs;
      known = true;
      setImmediate(forget);
      return (nowMs = systemClock.nowMs());
    },
    after: (delayMs, task) => systemClock.after(delayMs, task),
  };
}
