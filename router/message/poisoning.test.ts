/** Answers that an app may not give, and what it says besides its answers: nobody gets what is meant for another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

const get = 'GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
const ok = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok';
const okClosed = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';

const badAnswers: readonly (readonly [what: string, says: string])[] = [
  ['both lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok'],
  ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok'],
  ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok'],
  ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a folded field', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok'],
  ['bare line feeds', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
  ['a blank before a colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok'],
  ['NUL in a field', 'HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 2\r\n\r\nok'],
  ['a status of two digits', 'HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['another version', 'HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
  ['a switch that nobody asked for', 'HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n'],
  ['a head over the limit', `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(20_000)}\r\nContent-Length: 2\r\n\r\nok`],
  [
    'a body in an interim answer',
    'HTTP/1.1 103 X\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  ],
];

for (const [what, says] of badAnswers) {
  test(`an answer with ${what} is 502 upstream_protocol, and its connection is closed`, async (t) => {
    let closed = false;
    const raw = await startRawApp(t, {
      onData(socket) {
        socket.on('close', () => (closed = true));
        socket.write(says, 'latin1');
      },
    });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
    const answer = await exchangeBytes(port, get);
    assert.match(answer, /^HTTP\/1\.1 502 /);
    assert.match(answer, /"code":"upstream_protocol"/);
    while (!closed) await new Promise(setImmediate);
  });
}

test('what comes behind an answer never reaches a client, and its connection is not used again', async (t) => {
  const raw = await startRawApp(t, {
    onData: (socket) => socket.write(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale`),
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
  const answer = await exchangeBytes(port, get.replace('Connection: close\r\n', '') + get);
  assert.doesNotMatch(answer, /stale/);
  assert.equal(answer.match(/\r\n\r\nok/g)?.length, 2);
  assert.equal(raw.connections(), 2);
});

test('what an idle connection of the app says is not the answer to the next call', async (t) => {
  let say: (() => void) | undefined;
  const raw = await startRawApp(t, {
    onData(socket) {
      socket.write(ok);
      say ??= () => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale');
    },
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
  assert.equal(await exchangeBytes(port, get), okClosed);
  say?.();
  for (let i = 0; i < 5; i += 1) await new Promise(setImmediate);
  assert.equal(await exchangeBytes(port, get), okClosed);
});

for (const [what, method, says, status] of [
  ['HEAD answered with a body', 'HEAD', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale', 200],
  ['204 with a body', 'GET', 'HTTP/1.1 204 No Content\r\n\r\nstale', 204],
  ['304 with a body', 'GET', 'HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nstale', 304],
  ['an answer with a line too much', 'GET', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n', 200],
  [
    'an answer whose chunks are followed by more',
    'GET',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n0\r\n\r\n',
    200,
  ],
] as const) {
  test(`${what}: the client gets no byte too much, and the next call another connection`, async (t) => {
    const raw = await startRawApp(t, { answer: says, when: /\r\n\r\n$/ });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
    const request = get.replace('GET', method);
    const answer = await exchangeBytes(port, request.replace('Connection: close\r\n', '') + request);
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), [`HTTP/1.1 ${status}`, `HTTP/1.1 ${status}`]);
    assert.doesNotMatch(answer, /stale|ok\r\n/);
    assert.equal(raw.connections(), 2);
  });
}
