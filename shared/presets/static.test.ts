import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo } from 'node:net';
import { request } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { presetCommand, presetFiles } from './detect.ts';
import { createStaticServer } from './static-server.ts';
import { testTree } from './testing/tree.ts';

void test('files are served by nginx without root, on PORT, with everything it writes under /tmp', async () => {
  const { dockerfile, files } = await presetFiles('static', testTree({ 'dist/index.html': '' }));
  assert.match(dockerfile, /cp -R \/src\/dist\/\. \/site\//);
  assert.match(dockerfile, /^USER 101:101$/m);
  assert.match(dockerfile, /^STOPSIGNAL SIGQUIT$/m);
  assert.match(dockerfile, /exec nginx -c \/tmp\/nginx\.conf/);
  const config = files['nginx.holdfast.conf'] ?? '';
  assert.match(config, /listen __PORT__;/);
  for (const path of config.matchAll(/^\s*(?:pid|\w+_temp_path) (\S+);$/gm)) assert.match(path[1] ?? '', /^\/tmp\//);
});

void test('a package.json with a build and no start is a site that is built first', async () => {
  const tree = testTree({
    'package.json': JSON.stringify({ scripts: { build: 'vite build' }, devDependencies: { vite: '7' } }),
    'package-lock.json': '',
    'index.html': '',
  });
  const { dockerfile, files } = await presetFiles('static', tree);
  assert.match(dockerfile, /^FROM node:24-slim AS build$/m);
  assert.match(dockerfile, /^RUN npm run build$/m);
  assert.doesNotMatch(dockerfile, /prune/);
  assert.match(dockerfile, /^COPY --from=build \/app \/src$/m);
  assert.match(files['.dockerignore'] ?? '', /node_modules/);
  const command = await presetCommand('static', tree);
  assert.deepEqual(command.install, [
    ['npm', 'ci', '--no-audit', '--no-fund'],
    ['npm', 'run', 'build'],
  ]);
  assert.deepEqual(command.run?.slice(2), ['dist', 'build', 'out', '_site', 'public']);
});

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
