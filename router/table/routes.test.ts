import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { parseRoute } from '../../shared/protocol/app-spec.ts';
import type { Route } from '../../shared/protocol/routes.ts';
import { routeHost } from '../message/host.ts';
import { Routes } from './routes.ts';

function route(app: string, declared: string): Route {
  const parsed = parseRoute(declared);
  assert.ok(parsed !== undefined, declared);
  return {
    app,
    ...parsed,
    stripPath: true,
    version: 1,
    serving: { state: 'hold', reason: 'asleep' },
    holdMaxCalls: 1,
    holdTimeoutMs: 1,
    maxConcurrency: 0,
  };
}

function tableOf(...routes: Route[]): Routes {
  const table = new Routes();
  table.apply({ kind: 'snapshot', seq: 0, routes, more: false });
  return table;
}

/** The definition, written the slow way. */
function naive(routes: readonly Route[], host: string, target: string): string | undefined {
  const path = target.split('?', 1)[0] ?? '';
  const rank = (route: Route): number => {
    if (route.host === host && host !== '') return 1_000;
    if (route.host.startsWith('*') && host.endsWith(route.host.slice(1))) return route.host.length;
    return route.host === '' ? 0 : -1;
  };
  return routes
    .filter((route) => rank(route) >= 0)
    .filter((route) => route.path === '/' || path === route.path || path.startsWith(`${route.path}/`))
    .toSorted((a, b) => rank(b) - rank(a) || b.path.length - a.path.length)[0]?.app;
}

const label = fc.constantFrom('a', 'b', 'c');
const hostName = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.'));
const routeHosts = fc.oneof(
  fc.constant(''),
  hostName,
  hostName.map((host) => `*.${host}`),
);
const segments = fc.array(fc.constantFrom('x', 'y', 'xy', 'z'), { maxLength: 4 });
const routePaths = segments.map((parts) => `/${parts.join('/')}`);
const requestPaths = fc
  .tuple(
    fc.array(fc.constantFrom('x', 'y', 'xy', 'z', ''), { maxLength: 5 }),
    fc.constantFrom('', '/', '?x', '?/y', '/?'),
  )
  .map(([parts, tail]) => `/${parts.join('/')}${tail}`);

test('a lookup finds what the definition finds, after any changes', () => {
  const distinct = fc.uniqueArray(fc.tuple(routeHosts, routePaths), {
    selector: ([host, path]) => `${host}${path}`,
    maxLength: 12,
  });
  fc.assert(
    fc.property(
      distinct,
      fc.array(fc.nat(11), { maxLength: 6 }),
      fc.array(fc.tuple(fc.oneof(fc.constant(''), hostName), requestPaths), { minLength: 1, maxLength: 12 }),
      (declared, removals, calls) => {
        const routes = declared.map(([host, path], index) => ({ ...route(`app${index}`, '/'), host, path }));
        const table = tableOf(...routes);
        const remove = removals.map((index) => `app${index}`);
        // Each of the first half is also declared anew, at the route it has.
        const upsert = routes.filter((item, index) => index % 2 === 0 && !remove.includes(item.app));
        table.apply({ kind: 'delta', seq: 1, upsert, remove });
        const left = routes.filter((item) => !remove.includes(item.app));
        assert.equal(table.size, left.length);
        for (const [host, path] of calls)
          assert.equal(table.lookup(host, path)?.route.app, naive(left, host, path), `${host}${path}`);
      },
    ),
    { numRuns: 500 },
  );
});

test('exact host comes before a wildcard, the longer wildcard before the shorter, any host last', () => {
  const table = tableOf(
    route('any', '/'),
    route('wide', '*.example'),
    route('narrow', '*.a.example'),
    route('exact', 'b.a.example'),
    route('x', '/x'),
  );
  assert.equal(table.lookup('b.a.example', '/')?.route.app, 'exact');
  assert.equal(table.lookup('c.b.a.example', '/')?.route.app, 'narrow');
  assert.equal(table.lookup('a.example', '/')?.route.app, 'wide');
  assert.equal(table.lookup('example', '/')?.route.app, 'any');
  assert.equal(table.lookup('', '/x/y')?.route.app, 'x');
  assert.equal(table.lookup('', '/xy')?.route.app, 'any');
});

test('a host that has no matching path does not hide the routes of any host', () => {
  const table = tableOf(route('x', '/x'), route('y', 'a.example/y'));
  assert.equal(table.lookup('a.example', '/x')?.route.app, 'x');
  assert.equal(table.lookup('a.example', '/z'), undefined);
});

test('a snapshot in chunks takes effect with its last chunk', () => {
  const table = tableOf(route('old', '/old'));
  table.restart();
  assert.equal(table.apply({ kind: 'snapshot', seq: 7, routes: [route('a', '/a')], more: true }).kind, 'partial');
  assert.equal(table.lookup('', '/a'), undefined);
  assert.equal(table.lookup('', '/old')?.route.app, 'old');
  assert.equal(table.apply({ kind: 'snapshot', seq: 8, routes: [route('b', '/b')], more: false }).kind, 'replaced');
  assert.equal(table.of('old'), undefined);
  assert.equal(table.lookup('', '/a')?.route.app, 'a');
  assert.equal(table.lookup('', '/b')?.route.app, 'b');
  assert.equal(table.lookup('', '/old'), undefined);
});

test('a gap in the sequence changes nothing and asks for a new watch', () => {
  const table = tableOf(route('a', '/a'));
  assert.equal(table.apply({ kind: 'delta', seq: 2, upsert: [], remove: ['a'] }).kind, 'gap');
  assert.equal(table.lookup('', '/a')?.route.app, 'a');
  table.restart();
  assert.equal(table.apply({ kind: 'delta', seq: 1, upsert: [], remove: ['a'] }).kind, 'gap');
  assert.equal(table.apply({ kind: 'snapshot', seq: 1, routes: [], more: false }).kind, 'replaced');
  assert.equal(table.lookup('', '/a'), undefined);
});

test('one delta can hand the route of a removed app to another, and swap two', () => {
  const table = tableOf(route('a', '/a'), route('b', '/b'));
  table.apply({ kind: 'delta', seq: 1, upsert: [route('a', '/b'), route('b', '/a')], remove: [] });
  assert.equal(table.lookup('', '/a')?.route.app, 'b');
  assert.equal(table.lookup('', '/b')?.route.app, 'a');
  table.apply({ kind: 'delta', seq: 2, upsert: [route('c', '/a')], remove: ['b'] });
  assert.equal(table.lookup('', '/a')?.route.app, 'c');
});

test('the host of a call is compared without case, port and final dot', () => {
  assert.equal(routeHost('A.Example:8080'), 'a.example');
  assert.equal(routeHost('a.example.'), 'a.example');
  assert.equal(routeHost('[::1]:80'), '[::1]');
  assert.equal(routeHost('[::1]'), '[::1]');
  assert.equal(routeHost(''), '');
});
