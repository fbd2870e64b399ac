/** Answers that an app may not give, and what it says besides its answers: nobody gets what is meant for another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

const get = 'GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
const ok = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok';
const okClosed = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';

/** `names` is in the problem and in the log. */
const badAnswers: readonly (readonly [what: string, says: string, names?: string])[] = [
  ['both lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['two different lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok', 'Content-Lengths'],
  ['two lengths of equal value', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 02\r\n\r\nok', '"02"'],
  ['a list of different lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok', 'Content-Length'],
  ['a list that ends with an empty length', 'HTTP/1.1 200 OK\r\nContent-Length: 2,\r\n\r\nok', 'Content-Length'],
  ['a list that begins with an empty length', 'HTTP/1.1 200 OK\r\nContent-Length: ,2\r\n\r\nok', 'Content-Length'],
  ['lengths with a blank between', 'HTTP/1.1 200 OK\r\nContent-Length: 2 2\r\n\r\nok', '"2 2"'],
  [
    'equal lengths and chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'both Transfer-Encoding and Content-Length',
  ],
  ['a negative length', 'HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok'],
  ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', '"gzip, chunked"'],
  ['chunked in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  ['a folded field', 'HTTP/1.1 200 OK\r\nX-Long: b\r\n c\r\nContent-Length: 2\r\n\r\nok', 'behind the field "X-Long"'],
  ['bare line feeds', 'HTTP/1.1 200 OK\nContent-Length: 2\n\nok'],
  ['a blank before a colon', 'HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok', '("Content-Length ")'],
  ['NUL in a field', 'HTTP/1.1 200 OK\r\nX-Nul: b\0c\r\nContent-Length: 2\r\n\r\nok', 'the field "X-Nul"'],
  ['a name with a blank', 'HTTP/1.1 200 OK\r\nX Y: b\r\nContent-Length: 2\r\n\r\nok', '("X Y")'],
  ['a name that is not text', 'HTTP/1.1 200 OK\r\n\x01"\xff: b\r\nContent-Length: 2\r\n\r\nok', '("\\x01\\x22\\xff")'],
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

for (const [what, says, names = ''] of badAnswers) {
  test(`an answer with ${what} is 502 upstream_protocol, and its connection is closed`, async (t) => {
    let closed = false;
    const raw = await startRawApp(t, {
      onData(socket) {
        socket.on('close', () => (closed = true));
        socket.write(says, 'latin1');
      },
    });
    const logged: unknown[][] = [];
    const log = { ...silentLog, warn: (...line: unknown[]) => void logged.push(line) };
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })], log });
    const answer = await exchangeBytes(port, get);
    assert.match(answer, /^HTTP\/1\.1 502 /);
    const problem = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n'))) as { code: string; detail: string };
    assert.equal(problem.code, 'upstream_protocol');
    assert.ok(problem.detail.includes(names), problem.detail);
    assert.equal(logged.length, 1);
    const [{ error, app } = {}, text] = (logged[0] ?? []) as [Record<string, unknown>?, string?];
    assert.deepEqual([error, app, text], [problem.detail, 'a', 'app answered with invalid HTTP']);
    while (!closed) await new Promise(setImmediate);
  });
}

const oneMeaning: readonly (readonly [what: string, says: string])[] = [
  ['two equal lengths', 'Content-Length: 5\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello'],
  ['three equal lengths', 'Content-Length: 5\r\ncontent-length: 5\r\nCONTENT-LENGTH: 5\r\n\r\nhello'],
  ['a list of equal lengths', 'Content-Length: 5, 5\r\n\r\nhello'],
  ['a list without blanks, and one length', 'Content-Length: 5,5 ,\t5\r\nContent-Length: 5\r\n\r\nhello'],
];

for (const [what, says] of oneMeaning) {
  test(`an answer with ${what} has one length for the client, and its connection serves another call`, async (t) => {
    const raw = await startRawApp(t, { answer: `HTTP/1.1 200 OK\r\nDate: d\r\n${says}` });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
    const answer = await exchangeBytes(port, get.replace('Connection: close\r\n', '') + get);
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200'], answer);
    assert.deepEqual(answer.match(/content-length:.*\r\n/gi), ['Content-Length: 5\r\n', 'Content-Length: 5\r\n']);
    assert.equal(answer.match(/\r\n\r\nhello/g)?.length, 2);
    assert.equal(raw.connections(), 1);
    const head = await exchangeBytes(port, get.replace('GET', 'HEAD'));
    assert.deepEqual(head.match(/content-length:.*\r\n/gi), ['Content-Length: 5\r\n']);
  });
}

const paddedChunks: readonly (readonly [what: string, chunks: string])[] = [
  ['blanks behind the size', '5   \r\nhello\r\n0 \r\n\r\n'],
  ['a tab behind the size', '5\t\r\nhello\r\n0\r\n\r\n'],
  ['a size padded to eight', '5       \r\nhello\r\n0       \r\n\r\n'],
  ['blanks around an extension', '5 ; a = b ;c= "d"\t; e \r\nhello\r\n0 ;x\r\nT: u\r\n\r\n'],
];

for (const [what, chunks] of paddedChunks) {
  test(`an answer in chunks with ${what} is taken, and its connection serves another call`, async (t) => {
    for (const parts of [[chunks], chunks.split('')]) {
      const raw = await startRawApp(t, {
        onData(socket) {
          socket.write('HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n');
          for (const part of parts) socket.write(part);
        },
      });
      const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
      const answer = await exchangeBytes(port, get.replace('Connection: close\r\n', '') + get);
      assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200'], answer);
      assert.doesNotMatch(answer, /[0-9]+[ \t;]+\r\n/);
      assert.equal(raw.connections(), 1);
    }
  });
}

const badChunks: readonly (readonly [what: string, chunks: string])[] = [
  ['a blank before the size', ' 5\r\nhello\r\n0\r\n\r\n'],
  ['a blank in the size', '1 0\r\n0123456789abcdef\r\n0\r\n\r\n'],
  ['something behind the blanks', '5 x\r\nhello\r\n0\r\n\r\n'],
  ['a blank behind the carriage return', '5\r \nhello\r\n0\r\n\r\n'],
  ['a line feed behind blanks', '5  \nhello\r\n0\r\n\r\n'],
  ['blanks without end', `5${' '.repeat(20_000)}\r\nhello\r\n0\r\n\r\n`],
  ['an extension without a name', '5 ; \r\nhello\r\n0\r\n\r\n'],
  ['an extension without a value', '5 ; a= \r\nhello\r\n0\r\n\r\n'],
  ['two words in an extension', '5;a b\r\nhello\r\n0\r\n\r\n'],
];

for (const [what, chunks] of badChunks) {
  test(`an answer in chunks with ${what} is cut off, told in the log, and its connection is not used again`, async (t) => {
    const raw = await startRawApp(t, {
      answer: `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n${chunks}`,
    });
    const logged: unknown[][] = [];
    const log = { ...silentLog, warn: (...line: unknown[]) => void logged.push(line) };
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })], log });
    for (let call = 0; call < 2; call += 1) {
      const answer = await exchangeBytes(port, get);
      assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/);
    }
    assert.equal(raw.connections(), 2);
    assert.match(JSON.stringify(logged), /chunk/);
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
