import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo } from 'node:net';
import { request } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createStaticServer } from './static-server.ts';

interface Answer {
  readonly status: number | undefined;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
}

async function serve(
  t: TestContext,
  files: Readonly<Record<string, string>>,
): Promise<(path: string, options?: object) => Promise<Answer>> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-static-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  }
  await symlink('/etc/passwd', join(folder, 'passwd'));
  const server = createStaticServer(folder);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return (path, options = {}) =>
    new Promise((resolve, reject) => {
      // Not fetch: it would tidy the path.
      const sent = request({ host: '127.0.0.1', port, path, agent: false, ...options }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (body += chunk));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }));
      });
      sent.on('error', reject);
      sent.end();
    });
}

void test('the static server of the process platform answers as nginx does', async (t) => {
  const get = await serve(t, {
    'index.html': '<p>home</p>',
    'docs/index.html': 'docs',
    'page.html': 'page',
    'empty.css': '',
    'a.mjs': 'x',
    '.env': 'secret',
    '.well-known/x.txt': 'known',
    '404.html': 'lost',
  });
  const home = await get('/?a=1');
  assert.deepEqual(
    [home.status, home.body, home.headers['content-type'], home.headers['cache-control']],
    [200, '<p>home</p>', 'text/html; charset=utf-8', 'no-cache'],
  );
  assert.equal((await get('/', { headers: { 'if-none-match': home.headers['etag'] } })).status, 304);
  const folder = await get('/docs?a=1');
  assert.deepEqual([folder.status, folder.headers['location']], [301, './docs/?a=1']);
  assert.equal((await get('/docs/')).body, 'docs');
  assert.equal((await get('/page')).body, 'page');
  assert.deepEqual([(await get('/empty.css')).status, (await get('/empty.css')).headers['content-length']], [200, '0']);
  assert.equal((await get('/a.mjs')).headers['content-type'], 'text/javascript; charset=utf-8');
  assert.equal((await get('/.well-known/x.txt')).body, 'known');
  assert.deepEqual(
    [(await get('/', { method: 'HEAD' })).headers['content-length'], (await get('/', { method: 'HEAD' })).body],
    ['11', ''],
  );
  assert.equal((await get('/', { method: 'POST' })).status, 405);
  for (const path of [
    '/.env',
    '/passwd',
    '/nothing',
    '/../../etc/passwd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '/%00',
    '/%zz',
    '/a\\b',
  ]) {
    const lost = await get(path);
    assert.deepEqual([path, lost.status, lost.body], [path, 404, 'lost']);
  }
});
