/** Brings the schema up to date: numbered SQL files, each once, in order, under an advisory lock. */
import { readdir, readFile } from 'node:fs/promises';
import { AppError } from '../../shared/errors.ts';
import type { Database } from './database.ts';

const folder = new URL('./migrations/', import.meta.url);
/** The key of the advisory lock, by which two agents that start together take turns. */
const lockKey = 0x686f6c64;

/** @returns the numbers of the migrations that were run. @throws AppError config_invalid when the schema is newer than this release. */
export async function migrate(db: Database): Promise<number[]> {
  const files = (await readdir(folder)).filter((name) => /^\d{3}_\w+\.sql$/.test(name)).toSorted();
  return db.transaction(async (tx) => {
    await tx.query('select pg_advisory_xact_lock($1)', [lockKey]);
    await tx.query(
      'create table if not exists migrations (number integer primary key, at timestamptz not null default now())',
    );
    const { rows } = await tx.query<{ number: number }>('select number from migrations');
    const done = new Set(rows.map((row) => row.number));
    const known = new Set(files.map(numberOf));
    const newer = [...done].filter((number) => !known.has(number));
    if (newer.length > 0) {
      throw new AppError(
        'config_invalid',
        `metadata.db_connection: the schema has migration ${newer.join(', ')} of a newer release of Holdfast; run that release`,
      );
    }
    const ran: number[] = [];
    for (const file of files) {
      if (done.has(numberOf(file))) continue;
      await tx.query(await readFile(new URL(file, folder), 'utf8'));
      await tx.query('insert into migrations (number) values ($1)', [numberOf(file)]);
      ran.push(numberOf(file));
    }
    return ran;
  });
}

function numberOf(file: string): number {
  return Number(file.slice(0, 3));
}
