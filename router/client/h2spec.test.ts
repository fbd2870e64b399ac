import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';

/** Cases that fail, as they do for any server on Node's nghttp2, but for the first. RFC 9113 is newer than the tests. */
const known = new Map([
  ['Sends invalid connection preface', 'on this port it is a bad request of HTTP/1.1, answered as such, and closed'],
  ['closed: Sends a DATA frame after sending RST_STREAM frame', 'ignored, as RFC 9113 §5.1 allows for a while'],
  ['closed: Sends a HEADERS frame after sending RST_STREAM frame', 'ignored likewise'],
  ['closed: Sends a DATA frame', 'ignored likewise'],
  ['closed: Sends a HEADERS frame', 'ignored likewise'],
  [
    'Sends stream identifier that is numerically smaller than previous',
    'ignored, as a frame of a stream that is closed',
  ],
  ['Sends PRIORITY frame that depend on itself', 'RFC 9113 §5.3.2: priorities are obsolete'],
  ['Sends a PRIORITY frame with 0x0 stream identifier', 'the same'],
  ['Sends a PING frame with ACK', 'one that nobody asked for: the connection is closed'],
  [
    'Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
    'the connection is closed, not only the stream',
  ],
]);

const appMs = 50;

test('h2spec: HTTP/2 is spoken as RFC 7540 and 7541 say, but for cases that are known', async (t) => {
  // It takes its time, so that what comes behind a request comes before its answer: else that would be of a stream that is over.
  const app = await startUpstream(t, 'a-1', (req, res) => {
    req.resume().on('end', () => setTimeout(() => res.end('x'.repeat(128)), appMs));
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(targetOf(app)), { path: '/' })] });
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-h2spec-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'report.xml');
  const command = process.env['HOLDFAST_TEST_H2SPEC'] ?? 'h2spec';
  const args = ['-h', '127.0.0.1', '-p', String(port), '-j', file];
  // It ends with 1 where one case has failed.
  const error = await new Promise((resolve) => execFile(command, args, { timeout: 120_000 }, resolve));
  assert.notEqual((error as NodeJS.ErrnoException | null)?.code, 'ENOENT', 'test/cluster/tools h2spec builds it');
  const report = await readFile(file, 'utf8');
  const cases = [...report.matchAll(/<testcase package="([^"]*)" classname="([^"]*)"[^>]*>([\s\S]*?)<\/testcase>/g)];
  assert.ok(cases.length > 140, `${cases.length} cases`);
  const failed = cases.filter(([, , , inside]) => /<(failure|error)/.test(inside ?? ''));
  assert.ok(failed.length > 0, 'the report is read: at least the preface is among them');
  const news = failed.filter(([, , name]) => !known.has(name ?? ''));
  assert.deepEqual(
    news.map(([, section, name, inside]) => `${section} ${name}: ${inside}`),
    [],
  );
});
