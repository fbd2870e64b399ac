/** The audit on a real Postgres. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuditStore, type NewAuditEntry } from '../../../agent/store/audit-store.ts';
import { migrate } from '../../../agent/store/migrate.ts';
import { openTestDatabase } from '../database.ts';

const entry: NewAuditEntry = {
  at: '2026-12-01T10:00:00.000Z',
  actor: 'ci',
  address: '10.0.0.1',
  requestId: '7c1f',
  method: 'apps.apply',
  app: 'shop',
  outcome: 'ok',
  detail: 'update, version 2: env.A',
};

test('entries are found by app, token, method, outcome and time, newest first, and old ones are deleted', async (t) => {
  const db = await openTestDatabase(t);
  await migrate(db);
  const store = createAuditStore({ db });
  await store.add(entry);
  await store.add({
    ...entry,
    actor: null,
    app: null,
    method: 'POST /rpc',
    outcome: 'unauthenticated',
    detail: 'half \ud800, zero \0',
  });
  await store.add({ ...entry, at: new Date().toISOString(), app: 'blog', method: 'logs.follow' });
  const found = async (query: Partial<Parameters<typeof store.list>[0]>): Promise<string[]> =>
    (await store.list({ limit: 10, ...query })).map(({ method }) => method);
  assert.deepEqual(await found({}), ['logs.follow', 'POST /rpc', 'apps.apply']);
  assert.deepEqual(await found({ app: 'shop' }), ['apps.apply']);
  assert.deepEqual(await found({ actor: 'ci', limit: 1 }), ['logs.follow']);
  assert.deepEqual(await found({ method: 'apps.apply' }), ['apps.apply']);
  assert.deepEqual(await found({ failed: true }), ['POST /rpc']);
  assert.deepEqual(await found({ since: '2026-12-01T10:00:00.001Z' }), ['logs.follow']);
  const [newest] = await store.list({ limit: 1 });
  assert.deepEqual(await found({ before: newest?.id }), ['POST /rpc', 'apps.apply']);
  const [, , first] = await store.list({ limit: 10 });
  assert.deepEqual({ ...first, id: 0 }, { id: 0, ...entry });
  assert.equal(await store.prune(3_650), 0);
  await store.add({ ...entry, at: '2020-01-01T00:00:00.000Z' });
  assert.equal(await store.prune(365), 1);
});
