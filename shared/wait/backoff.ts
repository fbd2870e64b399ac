/** Growing, jittered pauses between attempts, so that many clients of one failed server do not come back as one. */

export interface Backoff {
  /** Milliseconds to wait before the next attempt. */
  next(): number;
  /** Begins again from `minMs`: call it after a success that lasted. */
  reset(): void;
}

/**
 * Full jitter over a window that doubles with each attempt: `minMs … min(maxMs, minMs · 2^attempt)`. Never below `minMs`,
 * so that a server that refuses at once is not dialled in a tight loop.
 */
export function backoff(options: {
  readonly minMs: number;
  readonly maxMs: number;
  /** 0 ≤ x < 1; for tests. */
  readonly random?: () => number;
}): Backoff {
  const { minMs, maxMs, random = Math.random } = options;
  let ceilingMs = minMs;
  return {
    next() {
      ceilingMs = Math.min(maxMs, ceilingMs * 2);
      return minMs + random() * Math.max(0, ceilingMs - minMs);
    },
    reset() {
      ceilingMs = minMs;
    },
  };
}
