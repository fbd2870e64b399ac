/** Work that a leading agent does each hour, such as deleting what is old. */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

const everyMs = 3_600_000;

export function startHourly(deps: {
  /** Names what `prune` deletes: `old uploads`. */
  readonly what: string;
  /** @returns how many it has deleted. */
  readonly prune: () => Promise<number>;
  readonly clock: Clock;
  readonly log: Log;
}): { close(): Promise<void> } {
  const { what, prune, clock, log } = deps;
  const closing = new AbortController();

  async function run(): Promise<void> {
    for (;;) {
      await sleep(clock, everyMs, closing.signal);
      if (closing.signal.aborted) return;
      try {
        const deleted = await prune();
        if (deleted > 0) log.info({ deleted }, `deleted ${what}`);
      } catch (error) {
        log.warn({ err: toAppError(error) }, `could not delete ${what}; trying again in an hour`);
      }
    }
  }

  const running = run();
  return {
    async close() {
      closing.abort();
      await running;
    },
  };
}
