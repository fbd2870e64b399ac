/** Deletes old entries of the audit, each hour while an agent leads. */
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import type { AuditStore } from '../store/audit-store.ts';

const everyMs = 3_600_000;

export function startAuditUpkeep(deps: {
  readonly store: Pick<AuditStore, 'prune'>;
  readonly keepDays: number;
  readonly clock: Clock;
  readonly log: Log;
}): { close(): Promise<void> } {
  const { store, keepDays, clock, log } = deps;
  const closing = new AbortController();

  async function run(): Promise<void> {
    while (!closing.signal.aborted) {
      try {
        const entries = await store.prune(keepDays);
        if (entries > 0) log.info({ entries }, 'deleted old entries of the audit');
      } catch (error) {
        log.warn({ err: toAppError(error) }, 'could not delete old entries of the audit; trying again in an hour');
      }
      await sleep(clock, everyMs, closing.signal);
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
