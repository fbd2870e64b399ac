import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import type { Clock } from '../../shared/wait/clock.ts';
import type { OwnRegistry } from './conversation.ts';
import type { AppError } from '../../shared/errors.ts';
import { createCredentials } from './credentials.ts';
import { createRegistry, type Registry } from './registry.ts';

const digest = `sha256:${'1'.repeat(64)}`;
/** Pauses between attempts are over at once. */
const hasty: Clock = {
  nowMs: () => 0,
  after(_delayMs, task) {
    const immediate = setImmediate(task);
    return () => clearImmediate(immediate);
  },
};
const patient = (): AbortSignal => AbortSignal.timeout(10_000);

/** A registry on port 0, and a client for which it is its own. */
async function setUp(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse, url: URL) => void,
  credentials: Partial<OwnRegistry> = {},
): Promise<{ readonly host: string; readonly registry: Registry; readonly asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', `http://${request.headers.host ?? ''}`);
    asked.push(`${request.method ?? ''} ${url.pathname} ${request.headers.authorization ?? '-'}`);
    answer(request, response, url);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const registry = createRegistry({ own: { host, insecure: true, ...credentials }, clock: hasty });
  t.after(async () => {
    await registry.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  return { host, registry, asked };
}

test('the digest of a tag is asked for with HEAD, indexes included', async (t) => {
  let accept = '';
  const { host, registry, asked } = await setUp(t, (request, response) => {
    accept = request.headers.accept ?? '';
    response.setHeader('docker-content-digest', digest).end();
  });
  assert.equal(await registry.digest(`${host}/team/hello:1`, patient()), digest);
  assert.deepEqual(asked, ['HEAD /v2/team/hello/manifests/1 -']);
  assert.match(accept, /image\.index/);
});

test('a reference with a digest asks nobody', async (t) => {
  const { host, registry, asked } = await setUp(t, (_request, response) => response.end());
  assert.equal(await registry.digest(`${host}/hello:1@${digest}`, patient()), digest);
  assert.deepEqual(asked, []);
});

test('where HEAD tells no digest, it is that of the manifest', async (t) => {
  const manifest = '{"schemaVersion":2}';
  const { host, registry } = await setUp(t, (request, response) =>
    response.end(request.method === 'GET' ? manifest : ''),
  );
  const expected = `sha256:${createHash('sha256').update(manifest).digest('hex')}`;
  assert.equal(await registry.digest(`${host}/hello`, patient()), expected);
});

test('where HEAD is refused, GET is asked', async (t) => {
  const { host, registry } = await setUp(t, (request, response) => {
    response.statusCode = request.method === 'HEAD' ? 405 : 200;
    if (request.method === 'GET') response.setHeader('docker-content-digest', digest);
    response.end();
  });
  assert.equal(await registry.digest(`${host}/hello`, patient()), digest);
});

test('basic credentials are given when they are asked for', async (t) => {
  const { host, registry, asked } = await setUp(
    t,
    (request, response) => {
      if (request.headers.authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="registry"' }).end();
      } else response.setHeader('docker-content-digest', digest).end();
    },
    { username: 'me', password: 'pass:word' },
  );
  assert.equal(await registry.digest(`${host}/hello`, patient()), digest);
  const basic = `Basic ${Buffer.from('me:pass:word').toString('base64')}`;
  assert.deepEqual(asked, ['HEAD /v2/hello/manifests/latest -', `HEAD /v2/hello/manifests/latest ${basic}`]);
});

test('a bearer token is fetched from the service that the registry names', async (t) => {
  const queries: string[] = [];
  const { host, registry, asked } = await setUp(
    t,
    (request, response, url) => {
      if (url.pathname === '/token') {
        queries.push(url.search);
        response.end(JSON.stringify({ access_token: 't0ken' }));
      } else if (request.headers.authorization === 'Bearer t0ken') {
        response.setHeader('docker-content-digest', digest).end();
      } else {
        const realm = `http://${url.host}/token`;
        const challenge = `Bearer realm="${realm}",service="reg, one",scope="repository:hello:pull"`;
        response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
    },
    { username: 'me', password: 'x' },
  );
  assert.equal(await registry.digest(`${host}/hello`, patient()), digest);
  assert.deepEqual(queries, ['?service=reg%2C+one&scope=repository%3Ahello%3Apull']);
  assert.match(asked[1] ?? '', /^GET \/token Basic /);
});

test('credentials go to the own registry only', async (t) => {
  const { host, asked } = await setUp(t, (_request, response) => {
    response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
  });
  // The same server, but another name is the own one; TLS is spoken to all others, so nothing is heard at all.
  const registry = createRegistry({
    own: { host: 'registry.example', insecure: true, username: 'me', password: 'x' },
    clock: hasty,
  });
  t.after(() => registry.close());
  await assert.rejects(registry.digest(`${host}/hello`, patient()), { code: 'registry_unavailable' });
  assert.deepEqual(asked, []);
});

test('answers of the registry become errors that name the cause', async (t) => {
  const { host, registry } = await setUp(t, (_request, response, url) => {
    response.statusCode = Number(/\/s(\d+)\//.exec(url.pathname)?.[1] ?? 500);
    response.end();
  });
  const cases: [status: number, code: string][] = [
    [404, 'image_not_found'],
    [401, 'image_denied'],
    [403, 'image_denied'],
    [429, 'registry_unavailable'],
    [500, 'registry_unavailable'],
    [302, 'registry_unavailable'],
  ];
  for (const [status, code] of cases) {
    await assert.rejects(registry.digest(`${host}/s${String(status)}/hello`, patient()), { code, phase: 'pull' });
  }
});

test('a registry that refuses connections, or gives nonsense, cannot be asked', async (t) => {
  const { host, registry } = await setUp(t, (_request, response) => {
    response.setHeader('docker-content-digest', 'sha256:short').end();
  });
  await assert.rejects(registry.digest(`${host}/hello`, patient()), { code: 'registry_unavailable' });
  const nobody = createRegistry({ own: { host: '127.0.0.1:1', insecure: true }, clock: hasty });
  t.after(() => nobody.close());
  await assert.rejects(nobody.digest('127.0.0.1:1/hello', patient()), { code: 'registry_unavailable' });
});

test('a caller that leaves ends the wait', async (t) => {
  const stop = new AbortController();
  const { host, registry } = await setUp(t, () => stop.abort());
  await assert.rejects(registry.digest(`${host}/hello`, stop.signal), { code: 'cancelled' });
});

test('a password never goes to a token service without TLS, unless the registry is insecure by choice', async (t) => {
  // `insecure` registries name http realms; a secure one that does so is answered with no token at all.
  const { host, registry, asked } = await setUp(t, (_request, response) => {
    response.writeHead(401, { 'www-authenticate': 'Bearer realm="ftp://registry.example/token"' }).end();
  });
  await assert.rejects(registry.digest(`${host}/hello`, patient()), { code: 'image_denied' });
  assert.equal(asked.length, 1);
});

test('tags are read page after page, on the same host, and an endless list is refused', async (t) => {
  const pages: Record<string, [link: string, tags: string[] | null]> = {
    '?n=1000': ['</v2/team/app/tags/list?last=b&n=2>; rel="next"', ['b', 'a']],
    '?last=b&n=2': ['<http://elsewhere.example/v2/team/app/tags/list?last=c>; rel="next"', ['c']],
    '?last=c': ['', null],
  };
  const { host, registry, asked } = await setUp(t, (_request, response, url) => {
    if (url.pathname.startsWith('/v2/endless/')) {
      response.setHeader('link', `<${url.pathname}?again>; rel="next"`).end('{"tags":["same"]}');
      return;
    }
    const [link, tags] = pages[url.search] ?? ['', []];
    if (link !== '') response.setHeader('link', link);
    response.end(JSON.stringify({ name: 'team/app', tags }));
  });
  assert.deepEqual(await registry.tags(`${host}/team/app`, patient()), ['a', 'b', 'c']);
  assert.equal(asked.length, 3);
  await assert.rejects(registry.tags(`${host}/endless`, patient()), {
    code: 'registry_unavailable',
    phase: 'build',
    message: /does not end/,
  });
});

test('what fails in passing is tried again, as long as the registry wishes within the time', async (t) => {
  const pauses: number[] = [];
  const recording: Clock = {
    nowMs: () => 0,
    after(delayMs, task) {
      pauses.push(delayMs);
      return hasty.after(delayMs, task);
    },
  };
  const answers = [503, 429, 200];
  const server = await setUp(t, (_request, response) => {
    const status = answers.shift() ?? 500;
    response.writeHead(status, { 'docker-content-digest': digest, ...(status === 429 ? { 'retry-after': '2' } : {}) });
    response.end();
  });
  const registry = createRegistry({ own: { host: server.host, insecure: true }, clock: recording });
  t.after(() => registry.close());
  assert.equal(await registry.exists(`${server.host}/hello:1`, patient()), digest);
  assert.equal(pauses.length, 2);
  assert.equal(pauses[1], 2_000);
  // Then it goes on failing: four attempts, no more.
  await assert.rejects(registry.exists(`${server.host}/hello:1`, patient()), { code: 'registry_unavailable' });
  assert.equal(server.asked.length, 3 + 4);
});

test('what does not pass has one attempt', async (t) => {
  const { host, registry, asked } = await setUp(t, (_request, response) => response.writeHead(403).end());
  await assert.rejects(registry.exists(`${host}/hello:1`, patient()), { code: 'image_denied', phase: 'build' });
  assert.equal(asked.length, 1);
});

test('a further registry is asked by plain HTTP with its own credentials, and the own one is not told them', async (t) => {
  const { host, registry: own } = await setUp(t, (_request, response) => response.writeHead(404).end());
  assert.equal(await own.exists(`${host}/x`, patient()), undefined);
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.headers.authorization ?? '-');
    if (request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="further"' }).end();
    } else response.setHeader('docker-content-digest', digest).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const further = `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
  const others = [{ host: further, insecure: true }];
  const logins = new Map([[further, { username: 'me', password: 'p:#/ä' }]]);
  const credentials = createCredentials({
    own: { host, login: undefined },
    others: logins,
    file: undefined,
    tokens: undefined,
  });
  const registry = createRegistry({ own: { host, insecure: true }, others, credentials, clock: hasty });
  t.after(async () => {
    await registry.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  assert.equal(await registry.digest(`${further}/team/app:1`, patient()), digest);
  assert.deepEqual(asked, ['-', `Basic ${Buffer.from('me:p:#/ä').toString('base64')}`]);
  assert.equal(await credentials.authorizationFor(`${host}/team/app`, patient()), undefined);
  assert.deepEqual(Object.keys((await credentials.dockerConfig([further], patient())).auths), [further]);
});

test('a registry that speaks plain HTTP and is not declared is told apart from an image that is not there', async (t) => {
  const { host } = await setUp(t, (_request, response) => response.writeHead(404).end());
  const registry = createRegistry({ own: undefined, clock: hasty });
  t.after(() => registry.close());
  await assert.rejects(registry.digest(`${host}/x:1`, patient()), (error: AppError) => {
    assert.equal(error.code, 'registry_unavailable');
    assert.match(error.message, /does not speak TLS: .*\[\[registries\]\] with insecure = true/);
    return true;
  });
});
