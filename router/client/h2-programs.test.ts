import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';
import { startHttp2App } from '../testing/h2.ts';

const run = promisify(execFile);

async function startBoth(t: TestContext): Promise<{ port: number; url: string }> {
  const plain = await startUpstream(t, 'a-1', (req, res) => {
    let bytes = 0;
    req.on('data', (chunk: Buffer) => (bytes += chunk.length));
    req.on('end', () => res.end(`${req.method} ${bytes}`));
  });
  const h2c = await startHttp2App(t, (stream, headers) => {
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length));
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'text/plain' });
      stream.end(`${headers[':method']} ${bytes}`);
    });
  });
  const { port } = await startTestRouter(t, {
    routes: [routeOf('a', ready(targetOf(plain))), routeOf('b', ready(h2c.target), { protocol: 'h2c' })],
  });
  return { port, url: `http://127.0.0.1:${port}` };
}

test('curl with prior knowledge uploads and downloads, to apps of both kinds', async (t) => {
  const { url } = await startBoth(t);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-h2-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'body');
  await writeFile(file, Buffer.alloc(2_000_000, 'x'));
  const curl = (...args: string[]) => run('curl', ['-sS', '--max-time', '20', '--http2-prior-knowledge', ...args]);
  for (const app of ['a', 'b']) {
    const { stdout } = await curl('-w', ' %{http_version}', `${url}/${app}`, '-T', file);
    assert.equal(stdout, 'PUT 2000000 2');
    const { stdout: head } = await curl('-I', `${url}/${app}`);
    assert.match(head, /^HTTP\/2 200/);
  }
});

test('an Upgrade to h2c is not followed: curl is answered by HTTP/1.1', async (t) => {
  const { url } = await startBoth(t);
  const { stdout } = await run('curl', ['-sS', '--http2', '-w', ' %{http_version}', `${url}/a`]);
  assert.equal(stdout, 'GET 0 1.1');
});

test('nghttp, with its priorities and padding, gets what it asks for', async (t) => {
  const { url } = await startBoth(t);
  const { stdout } = await run('nghttp', ['-v', '-b', '100', '--no-dep', `${url}/a`, `${url}/b`]);
  assert.equal(stdout.match(/:status: 200/g)?.length, 2);
  assert.match(stdout, /GOAWAY/);
});

test('h2load sees every call of many connections answered, also those that are held', async (t) => {
  const { url } = await startBoth(t);
  for (const app of ['a', 'b']) {
    const { stdout } = await run('h2load', ['-n', '3000', '-c', '10', '-m', '20', '-t', '1', `${url}/${app}`]);
    assert.match(stdout, /3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout/);
  }
  const app = await startUpstream(t, 'c-1', (_, res) => res.end('ok'));
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('c', asleep)] });
  const loading = run('h2load', ['-n', '1000', '-c', '10', '-m', '100', '-t', '1', `http://127.0.0.1:${port}/c`]);
  await until(() => router.held === 1_000, 'held calls');
  agent.push(routeOf('c', ready(targetOf(app))));
  assert.match((await loading).stdout, /1000 done, 1000 succeeded, 0 failed/);
});
