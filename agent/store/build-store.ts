/** Builds, one row per tag, and which versions want or have the image. */
import { storableJson } from '../../shared/storable-text.ts';
import type { BuildView, Failure } from '../../shared/protocol/views.ts';
import type { Database } from './database.ts';
import { insertEvents } from './event-store.ts';
import type { NewEvent } from './records.ts';

/** A build with its last log lines, oldest first. */
export interface BuildRecord extends BuildView {
  readonly logs: readonly string[];
}

/** A version that has an image, as pruning sees it. */
export interface ImageUse {
  readonly app: string;
  readonly version: number;
  readonly tag: string | null;
  readonly digest: string | null;
  /** Whether it is the live, the pending, the last good version or the good one before. */
  readonly inUse: boolean;
  /** The rank of the version by age; 1 is the newest of the app. */
  readonly rank: number;
}

const columns = 'tag, app, version, builder, state, image_digest, failure, queued_at, started_at, ended_at';
const ofApp = `(b.app = $1 and ($2::integer is null or b.version = $2) or b.tag in (
  select v.image_tag from versions v join apps a on a.id = v.app_id
  where a.name = $1 and ($2::integer is null or v.version = $2)))`;

export function createBuildStore({ db }: { readonly db: Database }) {
  return {
    /** Writes the row, unless it shows a later state already or belongs to a later build of the tag. */
    async save(record: BuildRecord): Promise<void> {
      await db.query(
        `insert into builds as b (${columns}, logs) values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (tag) do update set
           app = excluded.app, version = excluded.version, builder = excluded.builder, state = excluded.state,
           image_digest = excluded.image_digest, failure = excluded.failure, logs = excluded.logs,
           queued_at = excluded.queued_at, started_at = excluded.started_at, ended_at = excluded.ended_at
         where b.queued_at < excluded.queued_at
            or (b.queued_at = excluded.queued_at and (b.ended_at is null or excluded.ended_at is not null))`,
        [
          record.tag,
          record.app,
          record.version,
          record.builder,
          record.state,
          record.imageDigest,
          record.failure && storableJson(record.failure),
          record.queuedAt,
          record.startedAt,
          record.endedAt,
          storableJson(record.logs),
        ],
      );
    },
    /** Records that the version wants the image of this tag, before it is built, so that a later leader finds the build. */
    async want(app: string, version: number, tag: string): Promise<void> {
      await db.query(
        `update versions v set image_tag = $3 from apps a
         where a.id = v.app_id and a.name = $1 and v.version = $2 and v.image_digest is null and v.image_tag is distinct from $3`,
        [app, version, tag],
      );
    },
    /** Newest first. For an app, it includes builds that another app began and whose image its versions have. */
    async list({ app, limit }: { readonly app?: string | undefined; readonly limit: number }): Promise<BuildView[]> {
      const { rows } = await db.query<BuildRow>(
        `select ${columns} from builds b where $1::text is null or ${ofApp} order by queued_at desc, tag limit $3`,
        [app ?? null, null, limit],
      );
      return rows.map(toView);
    },
    /** The newest build of the app, or of the version. */
    async find(app: string, version: number | undefined): Promise<BuildRecord | undefined> {
      const { rows } = await db.query<BuildRow & { logs: string[] }>(
        `select ${columns}, logs from builds b where ${ofApp} order by queued_at desc, tag limit 1`,
        [app, version ?? null],
      );
      return rows[0] && { ...toView(rows[0]), logs: rows[0].logs };
    },
    /** Builds that are queued or running according to their rows. */
    async unfinished(): Promise<BuildRecord[]> {
      const { rows } = await db.query<BuildRow & { logs: string[] }>(
        `select ${columns}, logs from builds b where state in ('queued', 'running')`,
      );
      return rows.map((row) => ({ ...toView(row), logs: row.logs }));
    },
    /** Builds whose image exists according to their rows. */
    async built(): Promise<BuildView[]> {
      const { rows } = await db.query<BuildRow>(
        `select ${columns} from builds b where state = 'succeeded' and image_digest is not null`,
      );
      return rows.map(toView);
    },
    /** The digests of all images of the tag that were built by this installation and are not pruned, or that versions have. */
    async digests(tag: string): Promise<ReadonlySet<string>> {
      const { rows } = await db.query<{ image_digest: string }>(
        `select image_digest from builds where tag = $1 and state = 'succeeded' and image_digest is not null
         union select image_digest from versions where image_tag = $1 and image_digest is not null`,
        [tag],
      );
      return new Set(rows.map(({ image_digest }) => image_digest));
    },
    /** Every version that has an image built here, and every version in use. */
    async uses(): Promise<ImageUse[]> {
      const { rows } = await db.query<Omit<ImageUse, 'rank'> & { rank: string }>(
        `select * from (
           select a.name as app, v.version, v.image_tag as tag, v.image_digest as digest,
             coalesce(v.version in (a.live_version, a.pending_version, a.good_version,
               (select max(k.version) from versions k
                where k.app_id = a.id and k.outcome = 'good' and k.version <> a.good_version)), false) as "inUse",
             row_number() over (partition by a.id order by v.version desc) as rank
           from versions v join apps a on a.id = v.app_id
         ) u where u.tag is not null or (u."inUse" and u.digest is not null)`,
      );
      return rows.map((row) => ({ ...row, rank: Number(row.rank) }));
    },
    /** Records that the image of the tag is deleted. */
    async pruned(tag: string, event: NewEvent): Promise<void> {
      await db.transaction(async (tx) => {
        await tx.query(`update builds set image_digest = null where tag = $1 and state = 'succeeded'`, [tag]);
        await insertEvents(tx, [event]);
      });
    },
    /** Deletes builds that ended that long ago and have neither version nor image, and the log lines of the others. @returns how many were deleted. */
    async forget(olderThanDays: number): Promise<number> {
      const { rowCount } = await db.query(
        `delete from builds b where b.ended_at < now() - make_interval(days => $1) and b.image_digest is null
         and not exists (select from versions v where v.image_tag = b.tag)`,
        [olderThanDays],
      );
      // A row stays as long as its image or a version, but its lines do not.
      await db.query(
        `update builds set logs = '[]' where ended_at < now() - make_interval(days => $1) and logs <> '[]'`,
        [olderThanDays],
      );
      return rowCount ?? 0;
    },
  };
}

export type BuildStore = ReturnType<typeof createBuildStore>;

interface BuildRow {
  readonly tag: string;
  readonly app: string;
  readonly version: number;
  readonly builder: string;
  readonly state: BuildView['state'];
  readonly image_digest: string | null;
  readonly failure: Failure | null;
  readonly queued_at: Date;
  readonly started_at: Date | null;
  readonly ended_at: Date | null;
}

function toView(row: BuildRow): BuildView {
  return {
    tag: row.tag,
    app: row.app,
    version: row.version,
    state: row.state,
    builder: row.builder,
    imageDigest: row.image_digest,
    failure: row.failure,
    queuedAt: row.queued_at.toISOString(),
    startedAt: row.started_at?.toISOString() ?? null,
    endedAt: row.ended_at?.toISOString() ?? null,
  };
}
