/** A database of its own for each test, on the Postgres that HOLDFAST_TEST_DATABASE_URL names. */
import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { Client } from 'pg';
import { silentLog } from '../../shared/log.ts';
import { openDatabase, type Database } from '../../agent/store/database.ts';

/** @returns the URL of an empty database that is dropped after the test. @throws when no Postgres is named. */
export async function emptyDatabase(t: TestContext): Promise<string> {
  const server = process.env.HOLDFAST_TEST_DATABASE_URL;
  if (server === undefined) throw new Error('HOLDFAST_TEST_DATABASE_URL must name a Postgres; `npm test` starts one');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await onServer(server, `create database ${name}`);
  t.after(() => onServer(server, `drop database if exists ${name} with (force)`));
  const url = new URL(server);
  url.pathname = `/${name}`;
  return url.href;
}

/** An open pool on an empty database, closed after the test. */
export async function openTestDatabase(t: TestContext): Promise<Database> {
  const connectionString = await emptyDatabase(t);
  const db = openDatabase({ connectionString, maxConnections: 4, log: silentLog });
  t.after(() => db.close());
  return db;
}

async function onServer(connectionString: string, statement: string): Promise<void> {
  const client = new Client({ connectionString });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
