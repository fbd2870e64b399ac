/** An app below a path that it does not know, as its clients see it: by HTTP/1.1 and HTTP/2, from apps of both. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Route } from '../shared/protocol/routes.ts';
import { exchangeBytes } from './testing/raw-bytes.ts';
import { callBy, openSession, startHttp2App } from './testing/h2.ts';
import { asleep, call, ready, routeOf, startTestRouter, startUpstream, targetOf } from './testing/router.ts';

const below: Partial<Route> = { path: '/shop' };
/** As the agent sends it: the redirect is on unless the app turns it off. */
function shop(serving: Route['serving'], more: Partial<Route> = {}): Route {
  const { addSlash: _off, ...route } = routeOf('shop', serving, { ...below, ...more });
  return { ...route, ...more };
}

const fields = {
  location: '/login',
  'content-location': 'http://shop.example/items/7',
  refresh: '5; url=/later',
  'set-cookie': ['a=1; Path=/', 'b=2; Path=/admin; HttpOnly', 'c=3'],
  link: '</style.css>; rel=preload',
};

test('GET and HEAD of the stripped path itself are redirected below it, without a wake', async (t) => {
  const { port, agent, router } = await startTestRouter(t, { routes: [shop(asleep)] });
  for (const method of ['GET', 'HEAD']) {
    const answer = await call(port, '/shop?a=/b', { method });
    assert.deepEqual([answer.status, answer.headers.location, answer.body], [308, '/shop/?a=/b', ''], method);
    assert.equal(answer.headers['cache-control'], 'no-store');
  }
  const session = openSession(t, port);
  const { status, fields: got } = await callBy(session, '/shop');
  assert.deepEqual([status, got['location']], [308, '/shop/']);
  assert.deepEqual([router.held, agent.ensures.length], [0, 0]);
});

test('other methods and upgrades go to the app, and so does all where the app has turned the redirect off', async (t) => {
  const app = await startUpstream(t, 'shop-1', (req, res) => res.end(`${req.method} ${req.url}`));
  app.server.on('upgrade', (req, socket) => {
    socket.end(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n${req.url}`);
  });
  const { port, agent } = await startTestRouter(t, { routes: [shop(ready(targetOf(app)))] });
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
    assert.equal((await call(port, '/shop', { method })).body, `${method} /`);
  }
  const upgrade = 'GET /shop HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n';
  assert.match(await exchangeBytes(port, upgrade), /^HTTP\/1\.1 101 [^]*\r\n\r\n\/$/);
  for (const more of [{ addSlash: false }, { stripPath: false }] as const) {
    agent.push(shop(ready(targetOf(app)), more));
    assert.equal((await call(port, '/shop')).status, 200, JSON.stringify(more));
  }
});

test('a proxy that is trusted has its prefix in the redirect', async (t) => {
  const { port } = await startTestRouter(t, { config: { trusted_proxies: ['127.0.0.1'] }, routes: [shop(asleep)] });
  const { headers } = await call(port, '/shop', { headers: { 'X-Forwarded-Prefix': '/outer' } });
  assert.equal(headers.location, '/outer/shop/');
});

test('a call that a wake rule answers gets that answer, not a redirect', async (t) => {
  const wakeRules = [
    { path: '/shop', user_agent: 'monitor*', answer: { status: 200, content_type: 'text/plain', body: 'fine' } },
  ];
  const { port } = await startTestRouter(t, { routes: [shop(asleep, { wakeRules })] });
  assert.equal((await call(port, '/shop', { headers: { 'User-Agent': 'monitor/1' } })).body, 'fine');
  assert.equal((await call(port, '/shop')).status, 308);
});

test('one empty segment behind the stripped path is left out, and nothing else is', async (t) => {
  const app = await startUpstream(t, 'shop-1', (req, res) => res.end(req.url));
  const { port, agent } = await startTestRouter(t, { routes: [shop(ready(targetOf(app)))] });
  assert.equal((await call(port, '/shop//api?x=//y')).body, '/api?x=//y');
  assert.equal((await call(port, '/shop//')).body, '/');
  assert.equal((await call(port, '/shop/a//b')).body, '/a//b');
  for (const path of ['/shop///api', '/shop//\\api', '/shop/\\api', '/shop/\\/api']) {
    assert.equal((await call(port, path)).status, 400, path);
  }
  // Who reads two slashes as one sees the path of another app.
  agent.push(routeOf('other', asleep, { path: '/shop/api' }));
  assert.equal((await call(port, '/shop//api')).status, 400);
  assert.equal((await call(port, '/shop//apis')).body, '/apis');
});

test('what an app says of its paths is right for its client, for each protocol on either side', async (t) => {
  const app = await startUpstream(t, 'shop-1', (_req, res) =>
    res.writeHead(302, { ...fields, 'x-link': '/same' }).end(),
  );
  const h2App = await startHttp2App(t, (stream) => {
    stream.respond({ ':status': 302, ...fields, 'x-link': '/same' }, { endStream: true });
  });
  const { port, agent } = await startTestRouter(t, { routes: [] });
  const session = openSession(t, port);
  for (const route of [shop(ready(targetOf(app))), shop(ready(h2App.target), { protocol: 'h2c' })]) {
    agent.push(route);
    const { headers: plain } = await call(port, '/shop/x', { headers: { Host: 'shop.example' } });
    const { fields: h2 } = await callBy(session, '/shop/x', { ':authority': 'shop.example' });
    for (const headers of [plain, h2]) {
      assert.equal(headers['location'], '/shop/login');
      assert.equal(headers['content-location'], 'http://shop.example/shop/items/7');
      assert.equal(headers['refresh'], '5; url=/shop/later');
      assert.deepEqual(headers['set-cookie'], ['a=1; Path=/shop', 'b=2; Path=/shop/admin; HttpOnly', 'c=3']);
      assert.equal(headers['link'], fields.link);
      assert.equal(headers['x-link'], '/same');
    }
  }
});

test('keys of the app turn it off, and a route that strips nothing changes nothing', async (t) => {
  const app = await startUpstream(t, 'shop-1', (_req, res) => res.writeHead(302, fields).end());
  const { port, agent } = await startTestRouter(t, { routes: [] });
  const seen = async (more: Partial<Route>, path = '/shop/x'): Promise<unknown[]> => {
    agent.push(shop(ready(targetOf(app)), more));
    const { headers } = await call(port, path, { headers: { Host: 'shop.example' } });
    return [headers.location, headers['set-cookie']?.[0]];
  };
  assert.deepEqual(await seen({}), ['/shop/login', 'a=1; Path=/shop']);
  assert.deepEqual(await seen({ prefixLocations: false }), ['/login', 'a=1; Path=/shop']);
  assert.deepEqual(await seen({ prefixCookies: false }), ['/shop/login', 'a=1; Path=/']);
  assert.deepEqual(await seen({ stripPath: false }), ['/login', 'a=1; Path=/']);
  assert.deepEqual(await seen({ path: '/' }), ['/login', 'a=1; Path=/']);
  assert.deepEqual(await seen({ host: 'shop.example', path: '/' }), ['/login', 'a=1; Path=/']);
});

test('an app that uses X-Forwarded-Prefix and X-Forwarded-Host is right already', async (t) => {
  const app = await startUpstream(t, 'shop-1', (req, res) => {
    const prefix = String(req.headers['x-forwarded-prefix']);
    const to = req.url === '/own' ? `${prefix}/login` : '/login';
    res.writeHead(302, {
      location: `https://${String(req.headers['x-forwarded-host'])}${to}`,
      'set-cookie': `a=1; Path=${prefix}`,
    });
    res.end();
  });
  const config = { trusted_proxies: ['127.0.0.1'] };
  const { port } = await startTestRouter(t, { config, routes: [shop(ready(targetOf(app)))] });
  const headers = { 'X-Forwarded-Prefix': '/outer', 'X-Forwarded-Host': 'www.example' };
  for (const path of ['/shop/own', '/shop/plain']) {
    const answer = await call(port, path, { headers });
    assert.equal(answer.headers.location, 'https://www.example/outer/shop/login');
    assert.deepEqual(answer.headers['set-cookie'], ['a=1; Path=/outer/shop']);
  }
});

test('interim answers and trailers stay as they are', async (t) => {
  const app = await startUpstream(t, 'shop-1', (_req, res) => {
    res.writeEarlyHints({ link: '</style.css>; rel=preload', location: '/early' });
    res.writeHead(200, { Trailer: 'Location, Set-Cookie' });
    res.addTrailers({ Location: '/late', 'Set-Cookie': 'a=1; Path=/' });
    res.end('body');
  });
  const { port } = await startTestRouter(t, { routes: [shop(ready(targetOf(app)))] });
  const text = await exchangeBytes(
    port,
    'GET /shop/x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n',
  );
  assert.match(text, /^HTTP\/1\.1 103 [^]*\r\nlocation: \/early\r\n/i);
  assert.match(text, /\r\n0\r\nLocation: \/late\r\nSet-Cookie: a=1; Path=\/\r\n\r\n$/);
});
