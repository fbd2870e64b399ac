/** Time as the RPC link needs it, so that tests can move it. */

export interface Clock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** Runs `task` once after `delayMs`; the returned function takes it back. */
  after(delayMs: number, task: () => void): () => void;
}

/** The longest delay a Node timer takes; longer ones would fire at once. */
const maxTimerMs = 2_147_483_647;

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, task) {
    const timer = setTimeout(task, Math.min(delayMs, maxTimerMs));
    return () => {
      clearTimeout(timer);
    };
  },
};
