/** Deletes uploads that were not finished, or that no version needs any longer, each hour while an agent leads. */
import type { Clock } from '../../shared/wait/clock.ts';
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { UploadStore } from '../store/upload-store.ts';

const everyMs = 3_600_000;

export function startUploadUpkeep(deps: {
  readonly store: Pick<UploadStore, 'prune'>;
  readonly clock: Clock;
  readonly log: Log;
}): { close(): Promise<void> } {
  const { store, clock, log } = deps;
  const closing = new AbortController();

  async function run(): Promise<void> {
    for (;;) {
      await sleep(clock, everyMs, closing.signal);
      if (closing.signal.aborted) return;
      try {
        const uploads = await store.prune();
        if (uploads > 0) log.info({ uploads }, 'deleted old uploads');
      } catch (error) {
        log.warn({ err: toAppError(error) }, 'could not delete old uploads; trying again in an hour');
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
