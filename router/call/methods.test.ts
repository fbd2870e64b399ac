import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { callBy, openSession, startHttp2App } from '../testing/h2.ts';

const methods: readonly string[] = [
  'LIST',
  'UPDATE',
  'QUERY',
  'PROPFIND',
  'M-SEARCH',
  'VERSION-CONTROL',
  'patch',
  'Get',
  'head',
  'PRICE',
  'CONNECTED',
  "!#$%&'*+-.^_`|~9",
  'M'.repeat(128),
];

for (const method of methods) {
  const name = method.length > 20 ? `${method.length} characters` : method;

  test(`the method ${name} passes by HTTP/1.1 to an app of HTTP/1.1, with a body and without one`, async (t) => {
    const app = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/' })] });
    const bare = `${method} /x?y HTTP/1.1\r\nHost: h\r\n\r\n`;
    const withBody = `${method} /z HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc`;
    const answer = await exchangeBytes(port, bare + withBody);
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200'], answer);
    assert.ok(app.got[0]?.startsWith(`${method} /x?y HTTP/1.1\r\n`), app.got[0]);
    assert.ok(app.got[1]?.startsWith(`${method} /z HTTP/1.1\r\n`), app.got[1]);
    assert.ok(app.got[1]?.endsWith('\r\n\r\nabc'), app.got[1]);
  });

  test(`the method ${name} passes by HTTP/2 to an app of HTTP/1.1`, async (t) => {
    const app = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok' });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/' })] });
    const answer = await callBy(openSession(t, port), '/x', { ':method': method });
    assert.deepEqual([answer.status, answer.body], [200, 'ok']);
    assert.ok(app.got[0]?.startsWith(`${method} /x HTTP/1.1\r\n`), app.got[0]);
  });

  test(`the method ${name} passes to an app of HTTP/2, by HTTP/1.1 and by HTTP/2`, async (t) => {
    const seen: (string | undefined)[] = [];
    const app = await startHttp2App(t, (stream, headers) => {
      seen.push(headers[':method']);
      stream.respond({ ':status': 200 });
      stream.end('ok');
    });
    const { port } = await startTestRouter(t, {
      routes: [routeOf('a', ready(app.target), { path: '/', protocol: 'h2c' })],
    });
    const first = await exchangeBytes(port, `${method} / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    assert.match(first, /^HTTP\/1\.1 200 /);
    const second = await callBy(openSession(t, port), '/', { ':method': method });
    assert.deepEqual([second.status, second.body], [200, 'ok']);
    assert.deepEqual(seen, [method, method]);
  });
}
