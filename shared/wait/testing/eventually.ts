/** Waits for a condition by looking often, up to a deadline: what a test does instead of sleeping. */
import { setTimeout as pause } from 'node:timers/promises';

/** @returns what `look` returned, once it does not throw. @throws its last error when `withinMs` have passed. */
export async function eventually<T>(withinMs: number, look: () => Promise<T> | T): Promise<T> {
  const deadlineMs = performance.now() + withinMs;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
    }
    await pause(50);
  }
}
