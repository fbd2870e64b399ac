/** What the pool makes of connections that break under it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { inspect } from 'node:util';
import type { StatementError } from '../../../agent/store/database.ts';
import { openTestDatabase } from '../database.ts';

test('a connection that the server ends between two statements of a transaction is an error, not the end of the process', async (t) => {
  const db = await openTestDatabase(t);
  const transaction = db.transaction(async (tx) => {
    const { rows } = await tx.query<{ pid: number }>('select pg_backend_pid() as pid');
    await db.query('select pg_terminate_backend($1, 5000)', [rows[0]?.pid]);
    // What the server said last is read before the next statement is sent.
    for (let turn = 0; turn < 10; turn += 1) await once(AbortSignal.timeout(10), 'abort');
    await tx.query('select 1');
  });
  await assert.rejects(transaction, { code: 'store_unavailable' });
  assert.equal((await db.query<{ one: number }>('select 1 as one')).rows[0]?.one, 1);
});

test('what Postgres refuses is told by its code, without the values of the statement', async (t) => {
  const db = await openTestDatabase(t);
  await db.query('create table kept (name text unique, data jsonb)');
  const refused = (text: string, values: readonly unknown[]): Promise<unknown> =>
    db
      .transaction((tx) => tx.query(text, values))
      .then(
        () => assert.fail('it was taken'),
        (error: unknown) => error,
      );
  const canary = 'canary-7c1';
  const json = await refused('insert into kept (data) values ($1)', [JSON.stringify({ key: `${canary}\0` })]);
  await db.query('insert into kept (name) values ($1)', [canary]);
  const twice = await refused('insert into kept (name) values ($1)', [canary]);
  assert.equal((json as StatementError).sqlstate, '22P05');
  assert.equal((twice as StatementError).constraint, 'kept_name_key');
  for (const error of [json, twice]) assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /canary/);
});
