/** The audit: who asked for what and how it ended, denials included. It outlives the apps that it is about. */
import type { AuditView } from '../../shared/protocol/views.ts';
import { storable } from '../../shared/storable-text.ts';
import type { Database } from './database.ts';

export type NewAuditEntry = Omit<AuditView, 'id'>;

export interface AuditQuery {
  readonly app?: string | undefined;
  readonly actor?: string | undefined;
  readonly method?: string | undefined;
  /** Only what was refused or failed. */
  readonly failed?: boolean | undefined;
  /** ISO 8601. */
  readonly since?: string | undefined;
  readonly before?: number | undefined;
  readonly limit: number;
}

interface AuditRow extends Omit<AuditView, 'id' | 'at' | 'requestId'> {
  readonly id: string;
  readonly at: Date;
  readonly request_id: string;
}

const maxRows = 1_000_000;
const maxDetail = 4_096;

export function createAuditStore({ db }: { readonly db: Database }) {
  return {
    async add(entry: NewAuditEntry): Promise<void> {
      await db.query(
        `insert into audit (at, actor, address, request_id, method, app, outcome, detail) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
        [
          entry.at,
          entry.actor,
          entry.address,
          entry.requestId,
          storable(entry.method),
          entry.app,
          entry.outcome,
          storable(entry.detail.slice(0, maxDetail)),
        ],
      );
    },
    /** Newest first. */
    async list({ app, actor, method, failed = false, since, before, limit }: AuditQuery): Promise<AuditView[]> {
      const { rows } = await db.query<AuditRow>(
        `select id, at, actor, address, request_id, method, app, outcome, detail from audit
         where ($1::text is null or app = $1) and ($2::text is null or actor = $2) and ($3::text is null or method = $3)
           and (not $4::boolean or outcome <> 'ok') and ($5::timestamptz is null or at >= $5) and ($6::bigint is null or id < $6)
         order by id desc limit $7`,
        [app ?? null, actor ?? null, method ?? null, failed, since ?? null, before ?? null, limit],
      );
      return rows.map(({ request_id, ...row }) => ({
        ...row,
        id: Number(row.id),
        at: row.at.toISOString(),
        requestId: request_id,
      }));
    },
    /** Deletes what is older, and the oldest entries over a million. @returns how many were deleted. */
    async prune(olderThanDays: number): Promise<number> {
      const { rowCount } = await db.query(
        `delete from audit where at < now() - make_interval(days => $1) or id <= (select max(id) - $2 from audit)`,
        [olderThanDays, maxRows],
      );
      return rowCount ?? 0;
    },
  };
}

export type AuditStore = ReturnType<typeof createAuditStore>;
