/**
 * Records who asked for what: each entry is a line of the log, and a row of the database, written behind the call. Denials that repeat are
 * counted, so that whoever guesses tokens cannot fill either.
 */
import { randomUUID } from 'node:crypto';
import { toAppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import type { Clock } from '../../shared/wait/clock.ts';
import { WriteBehind } from '../../shared/wait/write-behind.ts';
import type { AuditStore, NewAuditEntry } from '../store/audit-store.ts';
import { writeFailureOf } from '../store/outbox.ts';

/** What there is to say of one request. */
export type AuditedRequest = Omit<NewAuditEntry, 'at' | 'requestId'>;

export interface Audit {
  record(request: AuditedRequest): void;
  /** Records a refusal, or counts it if the same one was recorded within the last minute. */
  denied(request: AuditedRequest): void;
  /** Writes what is queued, unless Postgres is away. */
  close(): Promise<void>;
}

const maxQueued = 10_000;
const retryMs = 1_000;
const closeMs = 3_000;
const windowMs = 60_000;
/** Refusals that are told apart at a time; those beyond are counted together. */
const maxKinds = 1_000;

interface Repeated {
  readonly request: AuditedRequest;
  more: number;
  readonly stopTimer: () => void;
}

export function createAudit(deps: {
  readonly store: Pick<AuditStore, 'add'>;
  readonly clock: Clock;
  /** Milliseconds since 1970. */
  readonly wallMs: () => number;
  readonly log: Log;
}): Audit {
  const { store, clock, wallMs, log } = deps;
  const repeated = new Map<string, Repeated>();
  const queue = new WriteBehind<NewAuditEntry>({
    write: (entry) => store.add(entry),
    failureOf: writeFailureOf,
    clock,
    backoff: { minMs: retryMs, maxMs: retryMs },
    maxItems: maxQueued,
    // The log has the entry in any case.
    onDropped({ requestId }, cause) {
      const err = 'full' in cause ? undefined : toAppError(cause.error);
      log.warn({ err, requestId }, 'an entry of the audit did not get into the database');
    },
    closeMs,
  });

  function record(request: AuditedRequest): void {
    const entry = { ...request, at: new Date(wallMs()).toISOString(), requestId: randomUUID() };
    log.info({ audit: entry }, 'audit');
    queue.add(entry);
  }

  function end(key: string): void {
    const { request, more, stopTimer } = repeated.get(key) ?? {};
    stopTimer?.();
    repeated.delete(key);
    if (request === undefined || more === undefined || more === 0) return;
    record({ ...request, detail: `${more} more like this within ${windowMs / 1_000} s` });
  }

  return {
    record,
    denied(request) {
      const hasRoom = repeated.size < maxKinds;
      const { actor, address, method, app, outcome } = request;
      const own = JSON.stringify([actor, address, method, app, outcome]);
      const key = hasRoom || repeated.has(own) ? own : `others ${outcome}`;
      const known = repeated.get(key);
      if (known !== undefined) {
        known.more += 1;
        return;
      }
      const told =
        key === own ? request : { ...request, address: 'several', actor: null, method: 'several', app: null };
      const stopTimer = clock.after(windowMs, () => end(key));
      repeated.set(key, { request: told, more: 0, stopTimer });
      record(told);
    },
    async close() {
      for (const key of repeated.keys()) end(key);
      await queue.close();
    },
  };
}
