import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, after, before, test } from 'node:test';
import { PGlite } from '@electric-sql/pglite';
import { Client, Pool } from 'pg';
import { startPostgresFront } from './postgres-front.ts';

const socketName = '.s.PGSQL.5432';

let database: PGlite;
before(async () => {
  database = await PGlite.create();
});
after(() => database.close());

/** @returns the folder of the socket, which clients take as the host. */
async function front(t: TestContext, idleInTransactionMs = 60_000): Promise<string> {
  const host = await mkdtemp(join(tmpdir(), 'front-'));
  const socket = join(host, socketName);
  const started = await startPostgresFront({ database, socket, idleInTransactionMs });
  assert.equal((await stat(socket)).mode & 0o777, 0o600);
  t.after(async () => {
    await started.close();
    await rm(host, { recursive: true });
  });
  return host;
}

function pool(t: TestContext, host: string, max: number): Pool {
  const made = new Pool({ host, user: 'postgres', database: 'postgres', max });
  made.on('error', () => undefined);
  t.after(() => made.end());
  return made;
}

test('statements and transactions of eight pooled clients do not mix', async (t) => {
  const clients = pool(t, await front(t), 8);
  await clients.query('create table mixed (id int primary key, name text)');
  t.after(() => database.exec('drop table mixed'));
  await Promise.all(
    Array.from({ length: 200 }, async (_, id) => {
      if (id % 2 === 0) {
        const { rows } = await clients.query('select $1::int as id, $2::text as name', [id, `n${id}`]);
        assert.deepEqual(rows, [{ id, name: `n${id}` }]);
        return;
      }
      const client = await clients.connect();
      try {
        await client.query('begin');
        await client.query('insert into mixed values ($1, $2)', [id, `n${id}`]);
        const { rows } = await client.query('select name from mixed where id = $1', [id]);
        assert.deepEqual(rows, [{ name: `n${id}` }]);
        await client.query(id % 4 === 1 ? 'commit' : 'rollback');
      } finally {
        client.release();
      }
    }),
  );
  const { rows } = await clients.query('select count(*)::int as count from mixed');
  assert.deepEqual(rows, [{ count: 50 }]);
});

test('a statement that fails leaves the next client unharmed', async (t) => {
  const clients = pool(t, await front(t), 2);
  await assert.rejects(clients.query('select $1::int', ['x']), { code: '22P02' });
  await assert.rejects(clients.query('select * from nowhere'), { code: '42P01' });
  assert.equal((await clients.query('select $1::int as one', [1])).rows[0].one, 1);
});

test('a client that leaves within a transaction has it rolled back', async (t) => {
  const host = await front(t);
  const clients = pool(t, host, 2);
  await clients.query('create table left_open (id int)');
  t.after(() => database.exec('drop table left_open'));
  const leaving = new Client({ host, user: 'postgres', database: 'postgres' });
  leaving.on('error', () => undefined);
  await leaving.connect();
  await leaving.query('begin');
  await leaving.query('insert into left_open values (1)');
  const count = clients.query('select count(*)::int as count from left_open');
  await leaving.end();
  assert.equal((await count).rows[0].count, 0);
});

test('a client that keeps a transaction open and idle is disconnected, so that others go on', async (t) => {
  const host = await front(t, 50);
  const clients = pool(t, host, 2);
  const idle = new Client({ host, user: 'postgres', database: 'postgres' });
  idle.on('error', () => undefined);
  t.after(() => idle.end());
  await idle.connect();
  await idle.query('begin');
  assert.equal((await clients.query('select 1 as one')).rows[0].one, 1);
});

test('a client that does not speak the protocol is disconnected', async (t) => {
  const host = await front(t);
  const socket = connect(join(host, socketName));
  socket.on('error', () => undefined);
  socket.resume();
  socket.write(Buffer.alloc(64, 0xff));
  await once(socket, 'close');
});
