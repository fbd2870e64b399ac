import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { silentLog, type Log } from '../../shared/log.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import type { NewAuditEntry } from '../store/audit-store.ts';
import { createAudit, type AuditedRequest } from './audit.ts';
import { describeCall } from './describe-call.ts';

const denial: AuditedRequest = {
  actor: null,
  address: '10.0.0.9',
  method: 'POST /rpc',
  app: null,
  outcome: 'unauthenticated',
  detail: '',
};

function bench() {
  const clock = createManualClock();
  const rows: NewAuditEntry[] = [];
  const lines: NewAuditEntry[] = [];
  const store = {
    error: undefined as AppError | undefined,
    async add(entry: NewAuditEntry) {
      if (store.error) throw store.error;
      rows.push(entry);
    },
  };
  const log = { ...silentLog, info: ({ audit }: { audit: NewAuditEntry }) => lines.push(audit) } as unknown as Log;
  const audit = createAudit({ store, clock, wallMs: () => Date.UTC(2026, 11, 1), log });
  return { clock, rows, lines, store, audit };
}

test('an entry is a line of the log and a row, each with a request id of its own', async () => {
  const { audit, rows, lines } = bench();
  audit.record({ ...denial, actor: 'ci', outcome: 'ok' });
  audit.record({ ...denial, actor: 'ci', outcome: 'ok' });
  await audit.close();
  assert.equal(rows.length, 2);
  assert.deepEqual(lines, rows);
  assert.equal(rows[0]?.at, '2026-12-01T00:00:00.000Z');
  assert.notEqual(rows[0]?.requestId, rows[1]?.requestId);
});

test('refusals that repeat are counted: a flood of them fills neither the log nor the database', async () => {
  const { audit, rows, clock } = bench();
  for (let i = 0; i < 5_000; i += 1) audit.denied(denial);
  audit.denied({ ...denial, address: '10.0.0.10' });
  await turns();
  assert.deepEqual(
    rows.map(({ address, detail }) => [address, detail]),
    [
      ['10.0.0.9', ''],
      ['10.0.0.10', ''],
    ],
  );
  clock.advance(60_000);
  await turns();
  assert.deepEqual([rows.length, rows[2]?.detail], [3, '4999 more like this within 60 s']);
  audit.denied(denial);
  await audit.close();
  assert.equal(rows.length, 4, 'a new minute is told again');
});

test('refusals from many addresses are bounded too', async () => {
  const { audit, rows } = bench();
  for (let i = 0; i < 3_000; i += 1) audit.denied({ ...denial, address: `10.0.${i >> 8}.${i & 255}` });
  await turns(2_000);
  await audit.close();
  assert.ok(rows.length <= 1_002, `${rows.length} rows`);
  assert.ok(rows.some(({ address, detail }) => address === 'several' && detail.startsWith('1999 more')));
});

test('while Postgres is away entries wait', async () => {
  const { audit, rows, store, clock } = bench();
  store.error = new AppError('store_unavailable', 'away');
  audit.record(denial);
  await turns();
  store.error = undefined;
  clock.advance(1_000);
  await turns();
  assert.equal(rows.length, 1);
  await audit.close();
});

const admin = { name: 'ann', scopes: ['admin' as const], address: '10.0.0.1' };

test('a call says what changed in each app, without values', () => {
  const params = { apps: [{ name: 'shop', env: { A: 'canary' } }, { name: 'blog' }], dryRun: false };
  const result = {
    changes: [
      { app: 'shop', action: 'update', version: 3, fields: ['env.A', 'secrets.KEY'] },
      { app: 'blog', action: 'create', version: 1, fields: [] },
    ],
  };
  const entries = describeCall({ method: 'apps.apply', params, identity: admin, outcome: 'ok', result });
  assert.deepEqual(
    entries.map(({ actor, address, app, outcome, detail }) => [actor, address, app, outcome, detail]),
    [
      ['ann', '10.0.0.1', 'shop', 'ok', 'update, version 3: env.A, secrets.KEY'],
      ['ann', '10.0.0.1', 'blog', 'ok', 'create, version 1'],
    ],
  );
  assert.doesNotMatch(JSON.stringify(entries), /canary/);
  const failed = describeCall({
    method: 'apps.apply',
    params,
    identity: admin,
    outcome: 'route_conflict',
    result: undefined,
  });
  assert.deepEqual(
    failed.map(({ app, outcome }) => [app, outcome]),
    [
      ['shop', 'route_conflict'],
      ['blog', 'route_conflict'],
    ],
  );
});

test('reads of logs are recorded, lists and the calls of routers are not, and what is forbidden always is', () => {
  const call = (method: string, outcome: 'ok' | 'forbidden', identity = admin) =>
    describeCall({ method, params: { app: 'shop' }, identity, outcome, result: {} }).map(({ app }) => app);
  const router = { name: 'r', scopes: ['router'] as never, address: '10.0.0.2' };
  assert.deepEqual(call('logs.follow', 'ok'), ['shop']);
  assert.deepEqual(call('apps.list', 'ok'), []);
  assert.deepEqual(call('versions.ensure', 'ok', router), []);
  assert.deepEqual(call('apps.list', 'forbidden', router), ['shop']);
  assert.deepEqual(call('constructor', 'ok'), []);
});
