import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route } from '../../shared/protocol/routes.ts';
import type { App } from './apps.ts';
import { asleep, ready, routeOf } from '../testing/router.ts';
import { bareTable } from '../testing/table.ts';

function ground() {
  const looked: { app: App; moved: boolean }[] = [];
  const { table, apps, targets } = bareTable((app, moved) => void looked.push({ app, moved }));
  let seq = 0;
  const snapshot = (routes: Route[], applied: () => void = () => undefined): void => {
    table.restart();
    assert.ok(table.apply({ kind: 'snapshot', seq: (seq += 10), routes, more: false }, applied));
  };
  const delta = (upsert: Route[], remove: string[], applied: () => void = () => undefined): boolean =>
    table.apply({ kind: 'delta', seq: ++seq, upsert, remove }, applied);
  return { apps, table, targets, looked, snapshot, delta };
}

const target = { id: 't-1', host: '127.0.0.1', port: 1 };
const names = Array.from({ length: 2_000 }, (_, i) => `a${i}`);

test('a snapshot makes nothing of apps that nobody calls', () => {
  const { apps, table, snapshot } = ground();
  snapshot(names.map((name) => routeOf(name, asleep)));
  assert.equal(table.size, 2_000);
  assert.equal(apps.size, 0);
  assert.equal(table.lookup('', '/a7')?.name, 'a7');
  assert.equal(apps.size, 1);
});

test('every call goes by a snapshot from the moment of its last item, and it has taken effect when all apps know it', async () => {
  const { apps, table, targets, looked, snapshot, delta } = ground();
  snapshot(names.map((name) => routeOf(name, ready({ ...target, id: name }))));
  for (const name of names) table.lookup('', `/${name}`);
  assert.equal(targets.size, 2_000);
  const order: string[] = [];
  const gone = apps.get('a1999');
  snapshot(
    names.slice(0, -1).map((name) => routeOf(name, asleep, { version: 2 })),
    () => order.push('snapshot'),
  );
  // The last one, which the slices have not come to.
  assert.equal(apps.get('a1998')?.route.version, 1);
  assert.equal(table.lookup('', '/a1998')?.route.version, 2);
  assert.equal(table.lookup('', '/a1999'), undefined);
  assert.equal(order.length, 0);
  assert.ok(delta([routeOf('a3', asleep, { version: 3 })], ['a1997'], () => order.push('delta')));
  assert.equal(table.lookup('', '/a3')?.route.version, 3);
  assert.equal(table.lookup('', '/a1997'), undefined);
  while (order.length === 0) await new Promise(setImmediate);
  assert.deepEqual(order, ['snapshot', 'delta']);
  assert.equal(apps.size, 1_998);
  assert.equal(targets.size, 0);
  assert.equal(gone?.routed, false);
  for (const app of apps.all()) assert.equal(app.route.version, app.name === 'a3' ? 3 : 2);
  // Each app's room was looked at, also where a call had brought the app up to date before.
  assert.equal(new Set(looked.map(({ app }) => app.name)).size, 2_000);
  assert.equal(looked.find(({ app }) => app.name === 'a1999')?.moved, true);
});

test('a new watch while a snapshot is still taking effect: what is old is not acknowledged', async () => {
  const { table, snapshot } = ground();
  snapshot(names.map((name) => routeOf(name, asleep)));
  for (const name of names) table.lookup('', `/${name}`);
  const order: string[] = [];
  snapshot([routeOf('a0', asleep, { version: 2 })], () => order.push('old'));
  snapshot([routeOf('a0', asleep, { version: 3 })], () => order.push('new'));
  while (order.length === 0) await new Promise(setImmediate);
  assert.deepEqual(order, ['new']);
  assert.equal(table.lookup('', '/a0')?.route.version, 3);
});

test('a delta of one route costs no more in a large table than in a small one: nothing is walked', () => {
  const { table, looked, snapshot, delta } = ground();
  snapshot(names.map((name) => routeOf(name, asleep)));
  for (const name of names) table.lookup('', `/${name}`);
  looked.length = 0;
  delta([routeOf('a5', asleep, { version: 2 })], []);
  assert.deepEqual(
    looked.map(({ app, moved }) => [app.name, moved]),
    [['a5', false]],
  );
});
