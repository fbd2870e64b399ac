/** Databases on a Postgres server that is already running. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';

export interface NewDatabase {
  readonly url: string;
  /** Drops it, even while something is connected. */
  readonly drop: () => Promise<void>;
}

/** Creates an empty database. @param server URL of any database of the server. @param prefix of the new name. */
export async function createDatabase(server: string, prefix: string): Promise<NewDatabase> {
  const name = `${prefix}_${randomBytes(6).toString('hex')}`;
  await onServer(server, `create database ${name}`);
  const url = new URL(server);
  url.pathname = `/${name}`;
  return { url: url.href, drop: () => onServer(server, `drop database if exists ${name} with (force)`) };
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
