/**
 * A clock that reads the time once in a turn of the event loop, because a call asks for it eight times. It serves durations and
 * deadlines of calls, but not a lease, which may run out while the process is stopped in the middle of a turn.
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
