/** Archives of `holdfast deploy`, stored in parts, so that an upload can continue after a break and any agent can build it later. */
import { AppError } from '../../shared/errors.ts';
import type { Database } from './database.ts';

/** The content of a complete archive. */
export interface UploadedTree {
  /** The digest of the tree, `sha256:<hex>`. */
  readonly digest: string;
  readonly files: number;
  /** The size when unpacked. */
  readonly bytes: number;
}

export interface Upload {
  /** The size of the archive. */
  readonly bytes: number;
  readonly partBytes: number;
  /** Undefined until the upload is complete. */
  readonly tree: UploadedTree | undefined;
}

/** Small enough to be sent over a slow line within the request timeout of the agent. */
const partBytes = 1024 ** 2;
const maxUnfinished = 64;
const maxUnfinishedPerToken = 32;
/** Bounds the uploads that no version names (yet). Each is deleted after a day. */
const defaultMaxLooseBytes = 8 * 1024 ** 3;
const defaultKeepVersions = 10;

export function partCount({ bytes, partBytes }: Pick<Upload, 'bytes' | 'partBytes'>): number {
  return Math.ceil(bytes / partBytes);
}

interface UploadRow {
  readonly bytes: string;
  readonly part_bytes: number;
  readonly digest: string | null;
  readonly files: number | null;
  readonly tree_bytes: string | null;
}

export function createUploadStore(deps: {
  readonly db: Database;
  /** How many of the newest versions of each app keep their uploads. */
  readonly keepVersions?: number;
  readonly maxLooseBytes?: number;
}) {
  const { db, keepVersions = defaultKeepVersions, maxLooseBytes = defaultMaxLooseBytes } = deps;

  async function get(archive: string): Promise<Upload | undefined> {
    const { rows } = await db.query<UploadRow>('select * from uploads where archive = $1', [archive]);
    return rows[0] && toUpload(rows[0]);
  }

  async function* read(archive: string): AsyncGenerator<Buffer> {
    for (let part = 0; ; part += 1) {
      const { rows } = await db.query<{ data: Buffer }>(
        'select data from upload_parts where archive = $1 and part = $2',
        [archive, part],
      );
      if (rows[0] === undefined) return;
      yield rows[0].data;
    }
  }

  return {
    get,
    /** The archive from its first byte to its last. */
    read,
    /**
     * Returns the existing upload, or a new one.
     * @throws AppError too_many_calls while too many are unfinished, in all or of the token; invalid_request for an archive that another
     * token uploads with another length; store_unavailable
     */
    async begin(archive: string, bytes: number, token: string): Promise<Upload> {
      return await db.transaction(async (tx) => {
        const known = await tx.query<UploadRow>(
          'update uploads set touched_at = now() where archive = $1 and bytes = $2 returning *',
          [archive, bytes],
        );
        if (known.rows[0]) return toUpload(known.rows[0]);
        const { rows } = await tx.query<{ unfinished: string; own: string; loose_bytes: string }>(
          `select count(*) filter (where u.digest is null) as unfinished,
             count(*) filter (where u.digest is null and u.begun_by = $2) as own, coalesce(sum(u.bytes), 0) as loose_bytes
           from uploads u where u.archive <> $1 and (u.digest is null
             or not exists (select from versions v where v.spec->>'source' = 'upload:' || u.digest))`,
          [archive, token],
        );
        const { unfinished = 0, own = 0, loose_bytes: looseBytes = 0 } = rows[0] ?? {};
        if (Number(own) >= maxUnfinishedPerToken)
          throw tooMany(
            `${maxUnfinishedPerToken} uploads of this token are unfinished already; each is deleted after a day`,
          );
        if (Number(unfinished) >= maxUnfinished)
          throw tooMany(`${maxUnfinished} uploads are unfinished already; each is deleted after a day`);
        if (Number(looseBytes) + bytes > maxLooseBytes)
          throw tooMany(
            `uploads that no app uses take up ${Math.ceil(Number(looseBytes) / 1024 ** 2)} MiB already; each is deleted after a day`,
          );
        // An archive has one length, so one of the two is wrong. Only the token that was wrong before may say so.
        await tx.query('delete from uploads where archive = $1 and digest is null and begun_by = $2', [archive, token]);
        const made = await tx.query<UploadRow>(
          'insert into uploads (archive, bytes, part_bytes, begun_by) values ($1, $2, $3, $4) on conflict (archive) do update set touched_at = now() returning *',
          [archive, bytes, partBytes, token],
        );
        if (made.rows[0] === undefined) return { bytes, partBytes, tree: undefined };
        if (Number(made.rows[0].bytes) !== bytes)
          throw new AppError(
            'invalid_request',
            `this archive has ${made.rows[0].bytes} bytes where it was uploaded before`,
          );
        return toUpload(made.rows[0]);
      });
    },
    /** The numbers of the missing parts, in order. */
    async missing(archive: string, upload: Upload): Promise<number[]> {
      const { rows } = await db.query<{ part: number }>('select part from upload_parts where archive = $1', [archive]);
      const there = new Set(rows.map(({ part }) => part));
      return Array.from({ length: partCount(upload) }, (_, part) => part).filter((part) => !there.has(part));
    },
    /** Stores a part. Does nothing if the part is stored already, or if the upload does not exist. */
    async put(archive: string, part: number, data: Buffer): Promise<void> {
      await db.query(
        `with upload as (update uploads set touched_at = now() where archive = $1 and digest is null returning archive)
         insert into upload_parts (archive, part, data) select archive, $2, $3 from upload on conflict do nothing`,
        [archive, part, data],
      );
    },
    async complete(archive: string, { digest, files, bytes }: UploadedTree): Promise<void> {
      await db.query(
        'update uploads set digest = $2, files = $3, tree_bytes = $4, touched_at = now() where archive = $1',
        [archive, digest, files, bytes],
      );
    },
    async remove(archive: string): Promise<void> {
      await db.query('delete from uploads where archive = $1', [archive]);
    },
    /** Whether a complete upload has this tree. It is kept for another day then. */
    async find(digest: string): Promise<boolean> {
      const { rowCount } = await db.query('update uploads set touched_at = now() where digest = $1', [digest]);
      return (rowCount ?? 0) > 0;
    },
    /** An archive of this tree. @throws AppError source_not_found */
    async *readTree(digest: string): AsyncIterable<Buffer> {
      const { rows } = await db.query<{ archive: string }>(
        'select archive from uploads where digest = $1 order by archive limit 1',
        [digest],
      );
      if (rows[0] === undefined)
        throw new AppError('source_not_found', 'the upload was deleted: run `holdfast deploy` again', {
          phase: 'source',
        });
      yield* read(rows[0].archive);
    },
    /**
     * Deletes uploads that were not touched for a day and are unfinished or not needed. Needed are those of versions that are in use or among
     * the newest of their app; the images of other versions are deleted too. @returns how many.
     */
    async prune(): Promise<number> {
      const { rowCount } = await db.query(
        `with needed as (
           select source from (
             select v.spec->>'source' as source,
               coalesce(v.version in (a.live_version, a.pending_version, a.good_version,
                 (select max(k.version) from versions k
                  where k.app_id = a.id and k.outcome = 'good' and k.version <> a.good_version)), false) as in_use,
               row_number() over (partition by a.id order by v.version desc) as rank
             from versions v join apps a on a.id = v.app_id
           ) v where in_use or rank <= $1)
         delete from uploads u where u.touched_at < now() - interval '1 day' and (u.digest is null
           or not exists (select from needed where source = 'upload:' || u.digest))`,
        [keepVersions],
      );
      return rowCount ?? 0;
    },
  };
}

/** An archive is named by its SHA-256, in hex. */
export type UploadStore = ReturnType<typeof createUploadStore>;

function tooMany(message: string): AppError {
  return new AppError('too_many_calls', message, { retryAfterMs: 60_000 });
}

function toUpload(row: UploadRow): Upload {
  const { digest, files, tree_bytes } = row;
  return {
    bytes: Number(row.bytes),
    partBytes: row.part_bytes,
    tree: digest === null ? undefined : { digest, files: files ?? 0, bytes: Number(tree_bytes ?? 0) },
  };
}
