/** Waits for a condition by looking at it, up to a deadline and no longer than the bench is wanted. */
import { systemClock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

interface Wait {
  readonly withinMs: number;
  readonly everyMs: number;
  /** Names the condition in the error. */
  readonly what: string;
  readonly signal: AbortSignal;
}

/** @throws what `look` throws, the signal's reason, or that it did not come in time. */
export async function until({ withinMs, everyMs, what, signal }: Wait, look: () => Promise<boolean>): Promise<void> {
  const deadlineMs = performance.now() + withinMs;
  while (!(await look())) {
    if (performance.now() > deadlineMs) throw new Error(`never came: ${what}`);
    await sleep(systemClock, everyMs, signal);
    signal.throwIfAborted();
  }
}
