/** Waits of tests for something that tells nobody when it changes. */
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';

export interface UntilOptions {
  /** 10,000 without it. */
  readonly withinMs?: number;
  /** The pause between two looks; 2 without it. */
  readonly everyMs?: number;
}

/** @param what names the condition in the error. @throws Error when it does not hold in time; what the condition throws. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  { withinMs = 10_000, everyMs = 2 }: UntilOptions = {},
): Promise<void> {
  const endMs = performance.now() + withinMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`never came: ${what} (within ${withinMs} ms)`);
    await pause(everyMs);
  }
}

/** Lets everything that is due run, for that many turns of the event loop. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn += 1) await nextTurn();
}
