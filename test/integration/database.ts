/** A database of its own for each test, on the Postgres that HOLDFAST_TEST_DATABASE_URL names. */
import type { TestContext } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { openDatabase, type Database } from '../../agent/store/database.ts';
import { createDatabase } from '../support/postgres-database.ts';

/** @returns the URL of an empty database that is dropped after the test. @throws when no Postgres is named. */
export async function emptyDatabase(t: TestContext): Promise<string> {
  const server = process.env.HOLDFAST_TEST_DATABASE_URL;
  if (server === undefined) throw new Error('HOLDFAST_TEST_DATABASE_URL must name a Postgres; `npm test` starts one');
  const { url, drop } = await createDatabase(server, 'test');
  t.after(drop);
  return url;
}

/** An open pool on an empty database, closed after the test. */
export async function openTestDatabase(t: TestContext): Promise<Database> {
  const connectionString = await emptyDatabase(t);
  const db = openDatabase({ connectionString, maxConnections: 4, log: silentLog });
  t.after(() => db.close());
  return db;
}
