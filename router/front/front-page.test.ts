import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { callBy, openSession } from '../testing/h2.ts';
import { asleep, call, ready, routeOf, startTestRouter, type Answer } from '../testing/router.ts';

const browser = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' };
const target = { id: 't', host: '127.0.0.1', port: 1 };
const starting = { state: 'hold', reason: 'starting' } as const;
const failed = { state: 'failed', failure: { code: 'app_crashed', phase: 'start', owner: 'app' } } as const;
const directory = { directory: true };

function open(port: number, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return call(port, path, { method, headers: { ...browser, ...headers } });
}

/** Opens a page again as long as lists have used up their time. */
async function openList(port: number, path: string): Promise<Answer> {
  for (;;) {
    const page = await open(port, path);
    if (page.headers['retry-after'] === undefined) return page;
    await new Promise(setImmediate);
  }
}

/** Name, address as text, link and state of each app, as they are shown. */
function rows({ body }: Answer): string[] {
  const row =
    /<li>(?:<a href="([^"]*)">|<div>)<span class="name">([^<]*)<\/span><span class="where">([^<]*)<\/span><span class="state (\w+)">/g;
  return [...body.matchAll(row)].map(([, href = 'no link', name, where, state]) => `${name} ${where} ${href} ${state}`);
}

test('a browser gets a page where no app is, and programs get the problem as before', async (t) => {
  const { port } = await startTestRouter(t, { routes: [routeOf('secret-app', asleep)] });
  for (const path of ['/', '/some/where?x=y']) {
    const page = await open(port, path);
    assert.deepEqual([page.status, page.headers['content-type']], [404, 'text/html; charset=utf-8']);
    assert.match(page.body, /<title>No app is here<\/title>/);
    assert.doesNotMatch(page.body, /secret-app|x=y/);
    assert.equal(page.headers['cache-control'], 'no-store');
    assert.match(page.headers.vary ?? '', /\bAccept\b/);
  }
  const programs: Record<string, string>[] = [
    {},
    { Accept: '*/*' },
    { Accept: 'application/json' },
    { Accept: 'application/json, text/html;q=0.9' },
    { Accept: 'application/problem+json, text/html;q=0.5' },
    { Accept: 'text/html;q=0' },
    { ...browser, 'Sec-Fetch-Mode': 'cors' },
    { ...browser, 'Sec-Fetch-Mode': 'navigate', 'Sec-Fetch-Dest': 'iframe' },
  ];
  for (const headers of programs) {
    const answer = await call(port, '/', { headers });
    assert.deepEqual([answer.status, answer.headers['content-type']], [404, 'application/problem+json']);
    assert.equal(JSON.parse(answer.body).code, 'route_not_found');
  }
  const posted = await open(port, '/', {}, 'POST');
  assert.equal(posted.headers['content-type'], 'application/problem+json');
});

test('what an address says is escaped and shortened', async (t) => {
  const { port } = await startTestRouter(t, { config: directory, routes: [routeOf('a', asleep)] });
  const page = await open(
    port,
    `/x<script>"&${'y'.repeat(1_000)}?q=${encodeURIComponent('"><script>alert(1)</script>')}`,
  );
  assert.doesNotMatch(page.body, /<script/);
  assert.doesNotMatch(page.body, /y{250}/);
  assert.match(page.body, /\/x&lt;script&gt;&quot;&amp;/);
});

test('its policy lets its own style in and nothing else, and nothing comes from elsewhere', async (t) => {
  const { port } = await startTestRouter(t, { config: directory, routes: [routeOf('a', asleep)] });
  const { body, headers } = await open(port, '/');
  const policy = String(headers['content-security-policy']);
  const style = /<style>([^]*?)<\/style>/.exec(body)?.[1] ?? '';
  assert.ok(policy.includes(`style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`), policy);
  assert.match(policy, /default-src 'none'/);
  assert.doesNotMatch(policy, /unsafe|script-src/);
  assert.doesNotMatch(body, /<script|src=|url\(|@import|style="/);
});

test('with a directory it lists the apps with their states, and links as the client sees them', async (t) => {
  const { port } = await startTestRouter(t, {
    config: directory,
    routes: [
      routeOf('shop', asleep, { path: '/shop' }),
      routeOf('blog', ready(target), { host: 'blog.localhost', path: '/' }),
      routeOf('admin', starting, { host: 'admin.localhost', path: '/x' }),
      routeOf('broken', failed, { path: '/team/broken' }),
      routeOf('tenants', { state: 'hold', reason: 'updating' }, { host: '*.tenants.example', path: '/' }),
    ],
  });
  const page = await open(port, '/');
  assert.equal(page.status, 200);
  const here = `127.0.0.1:${port}`;
  assert.deepEqual(rows(page), [
    `admin admin.localhost:${port}/x //admin.localhost:${port}/x starting`,
    `blog blog.localhost:${port} //blog.localhost:${port}/ live`,
    `broken ${here}/team/broken /team/broken failed`,
    `shop ${here}/shop /shop asleep`,
    'tenants *.tenants.example no link asleep',
  ]);
  const elsewhere = await open(port, '/nothing');
  assert.deepEqual([elsewhere.status, rows(elsewhere).length], [404, 5]);
  assert.match(elsewhere.body, /Nothing answers at <b>127\.0\.0\.1:\d+\/nothing<\/b>/);
});

test('behind a proxy that strips a prefix the links have it, and the host is that of the client', async (t) => {
  const { port } = await startTestRouter(t, {
    config: { ...directory, trusted_proxies: ['127.0.0.1'] },
    routes: [routeOf('shop', asleep), routeOf('blog', asleep, { host: 'blog.example', path: '/' })],
  });
  const page = await open(port, '/', { 'X-Forwarded-Prefix': '/apps', 'X-Forwarded-Host': 'front.example' });
  assert.deepEqual(rows(page), [
    'blog blog.example //blog.example/ asleep',
    'shop front.example/apps/shop /apps/shop asleep',
  ]);
});

test('HEAD has the fields of the page and no body, and HTTP/2 gets the page too', async (t) => {
  const { port } = await startTestRouter(t, { config: directory, routes: [routeOf('a', asleep)] });
  const page = await open(port, '/');
  const head = await open(port, '/', {}, 'HEAD');
  assert.deepEqual(
    [head.status, head.body, head.headers['content-length']],
    [200, '', String(Buffer.byteLength(page.body))],
  );
  const second = await callBy(openSession(t, port), '/', { accept: browser.Accept });
  assert.equal(second.status, 200);
  assert.match(second.body, /class="name">a</);
});

test('without apps the page says how to deploy one, and the first app is there at once', async (t) => {
  const { port, agent } = await startTestRouter(t, { config: directory });
  const page = await open(port, '/');
  assert.equal(page.status, 200);
  assert.match(page.body, /holdfast deploy/);
  agent.push(routeOf('first', asleep));
  assert.deepEqual(rows(await open(port, '/')).length, 1);
});

test('5,000 apps are shown in pages, filtered by name or address without a script', async (t) => {
  const routes = Array.from({ length: 5_000 }, (_, index) =>
    routeOf(`app-${String(index).padStart(4, '0')}`, asleep, {
      host: `host-${index % 50}.example`,
      path: `/p${index}`,
    }),
  );
  const { port } = await startTestRouter(t, { config: directory, routes });
  const first = await openList(port, '/');
  assert.equal(rows(first).length, 100);
  assert.ok(first.body.length < 40_000, `${first.body.length} bytes`);
  assert.match(first.body, /<form role="search" action="\/">/);
  assert.match(first.body, /1 of 50 · 5,000 apps/);
  assert.match(first.body, /<a rel="next" href="\/\?page=2">/);
  const last = await openList(port, '/?page=50');
  assert.match(rows(last).at(-1) ?? '', /^app-4999 /);
  assert.deepEqual(rows(await openList(port, '/?page=999999')), rows(last));
  const filtered = await openList(port, '/?q=HOST-7.&page=2');
  assert.match(filtered.body, /value="HOST-7\."/);
  assert.equal(rows(filtered).length, 100);
  assert.match((await openList(port, '/?q=app-1')).body, /1 of 10 · 1,000 apps.*href="\/\?q=app-1&amp;page=2"/s);
  assert.match((await openList(port, '/?q=nothing%20like%20it')).body, /No app fits <b>nothing like it<\/b>/);
  assert.equal((await openList(port, '/?page=x&q=%ff')).status, 200);
});

test('lists take a bounded part of each second, and pages without one are sent meanwhile', async (t) => {
  const routes = Array.from({ length: 20_000 }, (_, index) => routeOf(`app-${index}`, asleep, { path: `/p${index}` }));
  const { port } = await startTestRouter(t, { config: directory, routes });
  const answers = await Promise.all(Array.from({ length: 200 }, () => open(port, '/?q=no-such-app')));
  const busy = answers.filter(({ headers }) => headers['retry-after'] === '1');
  assert.ok(busy.length > 0);
  for (const { body, status } of busy) {
    assert.equal(status, 404);
    assert.match(body, /Too many people look at the list/);
  }
});
