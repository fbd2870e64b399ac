/** Apps, versions and who may write them. Every write names the epoch of its leader, and is refused with `fenced` if a later one has begun. */
import { AppError } from '../../shared/errors.ts';
import { storableJson } from '../../shared/storable-text.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { StartTimings } from '../../shared/protocol/routes.ts';
import type { Failure } from '../../shared/protocol/views.ts';
import { StatementError, type Database, type Queryable } from './database.ts';
import { insertEvents } from './event-store.ts';
import type { AppRecord, NewEvent, Outcome, VersionRecord } from './records.ts';

/** The changes of one declaration, which are written all or not at all. */
export interface Declaration {
  readonly created: readonly AppRecord[];
  /** The app as it is afterwards, and the version that was added, if any. */
  readonly updated: readonly { readonly app: AppRecord; readonly added: VersionRecord | undefined }[];
  readonly deleted: readonly string[];
  readonly events: readonly NewEvent[];
}

/** Facts about a version that the agent learns while it runs. Absent or null members stay as they are, except that a null failure clears the failure. */
export type Learnt = Partial<Pick<VersionRecord, 'outcome' | 'failure' | 'timings' | 'imageDigest' | 'imageTag'>>;

/** One record that is written behind. Absent members stay as they are. */
export interface Progress {
  readonly app: string;
  readonly pointers?: Pick<AppRecord, 'live' | 'pending' | 'good' | 'generation'>;
  readonly version?: Learnt & { readonly number: number };
  readonly events: readonly NewEvent[];
}

export function createAppStore({ db }: { readonly db: Database }) {
  return {
    /** Begins a new epoch, which fences every earlier leader. @returns the epoch. */
    async takeLead(holder: string): Promise<number> {
      const { rows } = await db.query<{ epoch: string }>(
        'update leadership set epoch = epoch + 1, holder = $1, since = now() where id = 1 returning epoch',
        [holder],
      );
      return Number(rows[0]?.epoch);
    },
    async load(): Promise<AppRecord[]> {
      const { rows } = await db.query<AppRow>(`${selectApps} order by a.name`);
      const versions = await db.query<VersionRow & { app_id: string }>(
        `select v.* from versions v join (${selectApps}) a on a.id = v.app_id
         and v.version in (a.live_version, a.pending_version, a.good_version, a.kept, a.latest)`,
      );
      const byApp = Map.groupBy(versions.rows, (version) => version.app_id);
      return rows.map((row) => toApp(row, byApp.get(row.id) ?? []));
    },
    /** @throws AppError route_conflict, fenced, store_unavailable */
    async declare(epoch: number, declaration: Declaration): Promise<void> {
      await db
        .transaction(async (tx) => {
          await fence(tx, epoch);
          for (const name of declaration.deleted) await tx.query('delete from apps where name = $1', [name]);
          for (const app of declaration.created) await insertApp(tx, app);
          for (const { app, added } of declaration.updated) await updateApp(tx, app, added);
          await insertEvents(tx, declaration.events);
        })
        .catch((error: unknown) => {
          if (error instanceof StatementError && error.constraint === 'apps_route') {
            throw new AppError('route_conflict', 'another app already has one of these paths', { cause: error });
          }
          throw error;
        });
    },
    async record(epoch: number, progress: Progress): Promise<void> {
      await db.transaction(async (tx) => {
        await fence(tx, epoch);
        if (progress.pointers) {
          const { live, pending, good, generation } = progress.pointers;
          await tx.query(
            'update apps set live_version = $2, pending_version = $3, good_version = $4 where name = $1 and generation = $5',
            [progress.app, live, pending, good, generation],
          );
        }
        if (progress.version) await updateVersion(tx, progress.app, progress.version);
        await insertEvents(tx, progress.events);
      });
    },
    /** The versions of the app, newest first. */
    async versions(app: string, limit: number): Promise<VersionRecord[]> {
      const { rows } = await db.query<VersionRow>(
        'select v.* from versions v join apps a on a.id = v.app_id where a.name = $1 order by v.version desc limit $2',
        [app, limit],
      );
      return rows.map(toVersion);
    },
    async version(app: string, version: number): Promise<VersionRecord | undefined> {
      const { rows } = await db.query<VersionRow>(
        'select v.* from versions v join apps a on a.id = v.app_id where a.name = $1 and v.version = $2',
        [app, version],
      );
      return rows[0] && toVersion(rows[0]);
    },
    /** The wakes of the last hour by calls and people, without those by the agent itself. */
    async wakes(): Promise<{ readonly app: string; readonly ageMs: number }[]> {
      const { rows } = await db.query<{ app: string; age_ms: number }>(
        `select app, (extract(epoch from now() - at) * 1000)::float8 as age_ms from events
         where kind = 'app.woken' and actor <> 'holdfast' and at > now() - interval '1 hour' order by id desc limit 100000`,
      );
      return rows.map(({ app, age_ms }) => ({ app, ageMs: age_ms }));
    },
    async ping(): Promise<void> {
      await db.query('select 1');
    },
  };
}

export type AppStore = ReturnType<typeof createAppStore>;

const selectApps = `select a.*, (select max(version) from versions v where v.app_id = a.id) as latest,
  (select max(version) from versions v where v.app_id = a.id and v.outcome = 'good' and v.version <> a.good_version) as kept
  from apps a`;

interface AppRow {
  readonly id: string;
  readonly name: string;
  readonly host: string;
  readonly path: string;
  readonly live_version: number;
  readonly pending_version: number | null;
  readonly good_version: number | null;
  readonly generation: number;
  readonly latest: number;
  readonly kept: number | null;
  readonly created_at: Date;
  readonly updated_at: Date;
}

interface VersionRow {
  readonly version: number;
  readonly spec: AppSpec;
  readonly secrets: Record<string, string>;
  readonly build_secrets: Record<string, string>;
  readonly image_digest: string | null;
  readonly source_digest: string | null;
  readonly image_tag: string | null;
  readonly outcome: Outcome;
  readonly failure: Failure | null;
  readonly timings: StartTimings | null;
  readonly created_at: Date;
  readonly created_by: string;
}

function toApp(row: AppRow, versions: readonly VersionRow[]): AppRecord {
  return {
    name: row.name,
    host: row.host,
    path: row.path,
    live: row.live_version,
    pending: row.pending_version,
    good: row.good_version,
    kept: row.kept,
    generation: row.generation,
    latest: row.latest,
    createdAt: row.created_at.toISOString(),
    updatedAt: row.updated_at.toISOString(),
    versions: new Map(versions.map((version) => [version.version, toVersion(version)])),
  };
}

function toVersion(row: VersionRow): VersionRecord {
  return {
    version: row.version,
    // Keys of a later release are absent here, and get their defaults.
    spec: { ...row.spec, secrets: row.secrets, build_secrets: row.build_secrets },
    imageDigest: row.image_digest,
    sourceDigest: row.source_digest,
    imageTag: row.image_tag,
    outcome: row.outcome,
    failure: row.failure,
    timings: row.timings,
    createdAt: row.created_at.toISOString(),
    createdBy: row.created_by,
  };
}

/** The shared lock on the row makes `takeLead` wait for this transaction, so the epoch cannot change during it. */
async function fence(tx: Queryable, epoch: number): Promise<void> {
  const { rows } = await tx.query<{ epoch: string; holder: string }>(
    'select epoch, holder from leadership where id = 1 for share',
  );
  const current = Number(rows[0]?.epoch);
  if (current !== epoch) {
    throw new AppError(
      'fenced',
      `this agent led epoch ${epoch}, but ${rows[0]?.holder ?? 'another agent'} leads epoch ${current} now`,
    );
  }
}

async function insertApp(tx: Queryable, app: AppRecord): Promise<void> {
  await tx.query(
    `insert into apps (name, host, path, live_version, pending_version, good_version, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [app.name, app.host, app.path, app.live, app.pending, app.good, app.createdAt, app.updatedAt],
  );
  for (const version of app.versions.values()) await insertVersion(tx, app.name, version);
}

async function updateApp(tx: Queryable, app: AppRecord, added: VersionRecord | undefined): Promise<void> {
  if (added) await insertVersion(tx, app.name, added);
  await tx.query(
    `update apps set host = $2, path = $3, live_version = $4, pending_version = $5, good_version = $6, updated_at = $7, generation = $8 where name = $1`,
    [app.name, app.host, app.path, app.live, app.pending, app.good, app.updatedAt, app.generation],
  );
}

async function insertVersion(tx: Queryable, app: string, version: VersionRecord): Promise<void> {
  const { secrets, build_secrets, ...spec } = version.spec;
  await tx.query(
    `insert into versions (app_id, version, spec, secrets, build_secrets, image_digest, source_digest, image_tag, outcome, created_at, created_by)
     select id, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 from apps where name = $1`,
    [
      app,
      version.version,
      storableJson(spec),
      storableJson(secrets),
      storableJson(build_secrets),
      version.imageDigest,
      version.sourceDigest,
      version.imageTag,
      version.outcome,
      version.createdAt,
      version.createdBy,
    ],
  );
}

async function updateVersion(tx: Queryable, app: string, version: NonNullable<Progress['version']>): Promise<void> {
  await tx.query(
    `update versions v set
       outcome = coalesce($3, v.outcome),
       failure = case when $4 then $5::jsonb else v.failure end,
       timings = coalesce($6::jsonb, v.timings),
       image_digest = coalesce($7, v.image_digest),
       image_tag = coalesce($8, v.image_tag)
     from apps a where a.id = v.app_id and a.name = $1 and v.version = $2`,
    [
      app,
      version.number,
      version.outcome ?? null,
      version.failure !== undefined,
      version.failure ? storableJson(version.failure) : null,
      version.timings ? storableJson(version.timings) : null,
      version.imageDigest ?? null,
      version.imageTag ?? null,
    ],
  );
}
