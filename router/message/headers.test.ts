import assert from 'node:assert/strict';
import { STATUS_CODES } from 'node:http';
import { connect } from 'node:net';
import { test } from 'node:test';
import { until } from '../../shared/wait/testing/until.ts';
import {
  asleep,
  call,
  clientScheme,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
} from '../testing/router.ts';

/** Sends bytes as they are and reads until the other side closes. */
function raw(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    let answer = '';
    socket.setEncoding('latin1');
    socket.on('data', (chunk: string) => (answer += chunk));
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
    socket.write(text, 'latin1');
  });
}

test('what the app gets: raw path, Host, order, case and repetitions as sent; hop-by-hop fields and those Connection names gone', async (t) => {
  let seen: { url: string; rawHeaders: string[] } | undefined;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    seen = { url: req.url ?? '', rawHeaders: req.rawHeaders };
    res.end();
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
  await raw(
    port,
    'GET /a/%7Ex//y?q=%20&z HTTP/1.1\r\nHost: Shop.Example:8080\r\nX-One: 1\r\nx-ONE: 2\r\nX-Latin: \xe9\r\nTE: gzip, trailers\r\n' +
      'Keep-Alive: 5\r\nProxy-Connection: x\r\nX-Hop: gone\r\nConnection: close, X-Hop, Host\r\n\r\n',
  );
  assert.equal(seen?.url, '/%7Ex//y?q=%20&z');
  const fields: [string, string][] = [];
  for (let i = 0; i < (seen?.rawHeaders.length ?? 0); i += 2) {
    fields.push([seen?.rawHeaders[i] ?? '', seen?.rawHeaders[i + 1] ?? '']);
  }
  const rest = fields.filter(([name]) => !['X-Request-Id', 'traceparent'].includes(name));
  assert.deepEqual(rest, [
    ['Host', 'Shop.Example:8080'],
    ['X-One', '1'],
    ['x-ONE', '2'],
    ['X-Latin', 'é'],
    ['TE', 'trailers'],
    ['X-Forwarded-For', '127.0.0.1'],
    ['X-Forwarded-Proto', clientScheme()],
    ['X-Forwarded-Host', 'Shop.Example:8080'],
    ['Forwarded', `for=127.0.0.1;host="Shop.Example:8080";proto=${clientScheme()}`],
    ['X-Forwarded-Prefix', '/a'],
    ['Connection', 'TE'],
  ]);
});

test('an untrusted client cannot set forwarding fields in any spelling; a trusted proxy can', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(JSON.stringify(req.headers)));
  const routes = [routeOf('a', ready(targetOf(app)))];
  const plain = await startTestRouter(t, { routes });
  const trusting = await startTestRouter(t, { routes, config: { trusted_proxies: ['127.0.0.0/8'] } });
  const headers = {
    'X-Forwarded-For': '192.0.2.7',
    X_Forwarded_For: '192.0.2.8',
    Content_Length: '3',
    'X-Forwarded-Proto': 'https',
    'X-Forwarded-Host': 'shop.example',
    'X-Forwarded-Prefix': '/outer',
    'X-Real-Ip': '192.0.2.9',
    Forwarded: 'for=192.0.2.7',
    'X-Request-Id': 'mine',
  };
  const untrusted = JSON.parse((await call(plain.port, '/a', { headers })).body);
  assert.equal(untrusted['x-forwarded-for'], '127.0.0.1');
  assert.equal(untrusted['x_forwarded_for'], undefined);
  assert.equal(untrusted['content_length'], undefined);
  assert.equal(untrusted['x-forwarded-proto'], clientScheme());
  assert.equal(untrusted['x-forwarded-prefix'], '/a');
  assert.equal(untrusted['x-real-ip'], undefined);
  assert.match(untrusted['forwarded'], /^for=127\.0\.0\.1;/);
  assert.notEqual(untrusted['x-request-id'], 'mine');
  const trusted = JSON.parse((await call(trusting.port, '/a', { headers })).body);
  assert.equal(trusted['x-forwarded-for'], '192.0.2.7, 127.0.0.1');
  assert.equal(trusted['x-forwarded-proto'], 'https');
  assert.equal(trusted['x-forwarded-host'], 'shop.example');
  assert.equal(trusted['x-forwarded-prefix'], '/outer/a');
  assert.match(trusted['forwarded'], /^for=192\.0\.2\.7, for=127\.0\.0\.1;/);
  assert.equal(trusted['x-request-id'], 'mine');
});

test('an untrusted client cannot say who it is in any spelling; a trusted proxy can', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(JSON.stringify(req.headers)));
  const routes = [routeOf('a', ready(targetOf(app)))];
  const plain = await startTestRouter(t, { routes });
  const trusting = await startTestRouter(t, { routes, config: { trusted_proxies: ['127.0.0.0/8'] } });
  const claims = [
    'X-Forwarded-User', 'x-forwarded-email', 'X-Forwarded-Groups', 'X-FORWARDED-Client-Cert', 'X-Forwarded-Scheme', 'X-Forwarded-Uri',
    'X-Remote-User', 'Remote-User', 'remote-groups', 'X-Auth-Request-User', 'X-Authenticated-User', 'X-WebAuth-User',
    'X-Original-URL', 'X-Original-Host', 'X-Rewrite-URL', 'True-Client-IP', 'CF-Connecting-IP', 'CF-Access-Jwt-Assertion', 'X-Client-IP',
    'X-Real-User', 'X-SSL-Client-CN', 'SSL-Client-Verify', 'X-Goog-Authenticated-User-Email', 'X-MS-CLIENT-PRINCIPAL-NAME',
    'X-Amzn-Oidc-Data', 'Tailscale-User-Login', 'Client-Cert', 'Holdfast-Identity',
  ]; // prettier-ignore
  const others = [
    'X-Auth-Token',
    'X-Client-Info',
    'X-Requested-With',
    'X-Custom',
    'Accept-Language',
    'Sec-Fetch-Mode',
    'X-Forward',
    'Remote',
  ];
  const spelled = claims.flatMap((name) => [name, name.replaceAll('-', '_'), name.replace('-', '_')]);
  const headers = Object.fromEntries([...spelled, ...others, 'Proxy'].map((name) => [name, 'me']));
  const seen = async (port: number): Promise<string[]> => {
    const answer = JSON.parse((await call(port, '/a', { headers })).body) as Record<string, string>;
    return Object.keys(answer)
      .filter((name) => answer[name] === 'me')
      .toSorted();
  };
  const lower = (names: readonly string[]): string[] => names.map((name) => name.toLowerCase()).toSorted();
  assert.deepEqual(await seen(plain.port), lower(others));
  assert.deepEqual(await seen(trusting.port), lower([...others, ...claims]), 'as a proxy writes them, and never Proxy');
});

test('what clients may say of themselves can be widened and narrowed', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(JSON.stringify(req.headers)));
  const { port } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app)))],
    config: { drop_client_fields: ['x-user', 'x-internal-*'], pass_client_fields: ['x-forwarded-uri', 'cf-*'] },
  });
  const headers = Object.fromEntries(
    [
      'X-User',
      'X_User',
      'X-Internal-Role',
      'X-User-Id',
      'X-Forwarded-Uri',
      'X_Forwarded_Uri',
      'CF-Ray',
      'X-Forwarded-User',
    ].map((name) => [name, 'me']),
  );
  const answer = JSON.parse((await call(port, '/a', { headers })).body) as Record<string, string>;
  assert.deepEqual(
    Object.keys(answer)
      .filter((name) => answer[name] === 'me')
      .toSorted(),
    ['cf-ray', 'x-forwarded-uri', 'x-user-id'],
  );
});

test('the route path is kept where the app wants it', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) =>
    res.end(`${req.url} ${String(req.headers['x-forwarded-prefix'])}`),
  );
  const { port, agent } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app)), { stripPath: false })],
  });
  assert.equal((await call(port, '/a/b?c')).body, '/a/b?c undefined');
  agent.push(routeOf('a', ready(targetOf(app)), { path: '/' }));
  assert.equal((await call(port, '/a/b?c')).body, '/a/b?c undefined');
  agent.push(routeOf('a', ready(targetOf(app)), { path: '/a' }));
  assert.equal((await call(port, '/a?c')).body, '/?c /a');
});

const ambiguous: readonly (readonly [what: string, text: string, status: number])[] = [
  [
    'both lengths',
    'POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    400,
  ],
  ['two lengths', 'POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd', 400],
  ['another coding', 'POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 400],
  ['chunked in HTTP/1.0', 'POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
  ['two hosts', 'GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n', 400],
  ['no host', 'GET /a HTTP/1.1\r\n\r\n', 400],
  ['a host with a space', 'GET /a HTTP/1.1\r\nHost: x y\r\n\r\n', 400],
  ['an unknown coding', 'POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n', 400],
  ['a dot segment', 'GET /a/../b HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a dot segment at the end', 'GET /a/.?x HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['an encoded dot segment', 'GET /a/%2E%2e/b HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a dot segment between backslashes', 'GET /a\\..\\b HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a dot segment behind an encoded slash', 'GET /a%2F..%2fb HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a dot segment before an encoded slash', 'GET /a/..%2fb HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a dot segment before an encoded backslash', 'GET /a/..%5cb HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a dot segment with a parameter', 'GET /a/..;x=1/b HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['a dot segment in absolute form', 'GET http://x/a/.%2e HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['an authority after the prefix', 'GET /a///b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
  ['a backslash after the prefix', 'GET /a/\\b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 400],
  ['TRACE', 'TRACE /a HTTP/1.1\r\nHost: x\r\n\r\n', 405],
  ['CONNECT', 'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n', 405],
  [
    'another request behind it',
    'GET /a/.. HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/9.9\r\n\r\n',
    400,
  ],
  ['a bare line feed', 'GET /a HTTP/1.1\nHost: x\n\n', 400],
  ['a folded field', 'GET /a HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n 2\r\n\r\n', 400],
  ['no path', 'GET * HTTP/1.1\r\nHost: x\r\n\r\n', 400],
  ['another expectation', 'GET /a HTTP/1.1\r\nHost: x\r\nExpect: tea\r\n\r\n', 400],
  ['a huge head', `GET /a HTTP/1.1\r\nHost: x\r\nX-A: ${'a'.repeat(20_000)}\r\n\r\n`, 431],
];

for (const [what, text, status] of ambiguous) {
  test(`a request with ${what} is refused with ${status} and never reaches the app`, async (t) => {
    let reached = 0;
    const app = await startUpstream(t, 'a-1', (_, res) => {
      reached += 1;
      res.end();
    });
    const { port, registry } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)))] });
    const answer = await raw(port, text);
    assert.ok(answer.startsWith(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n`), answer);
    assert.match(answer, /\r\nConnection: close\r\n/);
    assert.match(answer, /\r\nContent-Type: application\/problem\+json\r\n/);
    assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, answer);
    assert.equal(reached, 0);
    const counted = new RegExp(`^holdfast_router_requests_total\\{code="${status}"\\} 1$`, 'm');
    assert.match(await registry.metrics(), counted);
  });
}

test('dots that are no segment, and an empty segment where no prefix is taken off, go to the app as sent', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(req.url));
  const routes = [
    routeOf('a', ready(targetOf(app))),
    routeOf('b', ready({ ...targetOf(app), id: 'b-1' }), { stripPath: false }),
  ];
  const { port } = await startTestRouter(t, { routes });
  for (const path of ['/a/...', '/a/.well-known/x', '/a/x..', '/a/x?y=/../z', '/a/%2e%2ex', '/a/?//b']) {
    assert.equal((await call(port, path)).body, path.slice(2));
  }
  assert.equal((await call(port, '/b//c')).body, '/b//c');
});

test('a body that goes wrong after its answer gets no second one', async (t) => {
  const { port } = await startTestRouter(t, {});
  const socket = connect({ port, host: '127.0.0.1' });
  let answer = '';
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString();
    socket.write('this is no chunk\r\n\r\n');
  });
  socket.write('POST /nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
  await closed;
  assert.match(answer, /^HTTP\/1\.1 404 /);
  assert.equal(answer.match(/HTTP\/1\.1 /g)?.length, 1, answer);
});

for (const [what, text] of [
  ['an upgrade', 'GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'],
  ['CONNECT', 'CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n'],
] as const) {
  test(`${what} behind a request that waits is answered in its turn`, async (t) => {
    const { port, router, agent } = await startTestRouter(t, { routes: [routeOf('a', asleep)] });
    const answers = raw(port, `GET /a HTTP/1.1\r\nHost: x\r\n\r\n${text}`);
    await until(() => router.held === 1, 'a held call');
    const app = await startUpstream(t, 'a-1', (_, res) => res.writeHead(201).end());
    agent.push(routeOf('a', ready(targetOf(app))));
    const statuses = (await answers).match(/HTTP\/1\.1 \d+/g);
    assert.deepEqual(statuses, ['HTTP/1.1 201', what === 'CONNECT' ? 'HTTP/1.1 405' : 'HTTP/1.1 201']);
  });
}

test('an absolute-form target names the host, whatever Host says', async (t) => {
  const app = await startUpstream(t, 'a-1', (req, res) => res.end(`${req.headers.host} ${req.url}`));
  const { port } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(app)), { host: 'a.example', path: '/' })],
  });
  const answer = await raw(port, 'GET http://a.example/x?y HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n');
  assert.match(answer, /a\.example \/x\?y/);
});

test('an unknown route is 404 as problem+json, without body for HEAD', async (t) => {
  const { port } = await startTestRouter(t, {});
  const answer = await call(port, '/nothing');
  assert.equal(answer.status, 404);
  assert.equal(answer.headers['content-type'], 'application/problem+json');
  const problem = JSON.parse(answer.body);
  assert.equal(problem.code, 'route_not_found');
  assert.equal(problem.owner, 'caller');
  const head = await call(port, '/nothing', { method: 'HEAD' });
  assert.equal(head.status, 404);
  assert.equal(head.body, '');
});
