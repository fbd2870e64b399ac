/** What the pool makes of connections that break under it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
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
