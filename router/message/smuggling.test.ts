import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

/** Requests that two servers in a row have been shown to read in two ways. Each must be refused, and nothing of it reach the app. */
const smuggled = 'GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n';
const chunkedGet = `0\r\n\r\n${smuggled}`;

function post(fields: string, body: string, version = '1.1'): string {
  return `POST / HTTP/${version}\r\nHost: h\r\n${fields}\r\n\r\n${body}`;
}

const refused: readonly (readonly [what: string, text: string, status?: number])[] = [
  ['CL.TE', post('Content-Length: 50\r\nTransfer-Encoding: chunked', chunkedGet)],
  ['TE.CL', post('Transfer-Encoding: chunked\r\nContent-Length: 4', `5c\r\n${smuggled}\r\n0\r\n\r\n`)],
  ['CL.TE with a length of 0', post('Content-Length: 0\r\nTransfer-Encoding: chunked', chunkedGet)],
  ['two equal lengths', post('Content-Length: 5\r\nContent-Length: 5', 'abcde')],
  ['two lengths', post('Content-Length: 5\r\nContent-Length: 0', 'abcde')],
  ['a list of lengths', post('Content-Length: 5, 5', 'abcde')],
  ['an empty length', post('Content-Length:', smuggled)],
  ['a length with a sign', post('Content-Length: +5', 'abcde')],
  ['a negative length', post('Content-Length: -5', 'abcde')],
  ['a hexadecimal length', post('Content-Length: 0x5', 'abcde')],
  ['an octal length', post('Content-Length: 010', 'abcdefgh')],
  ['a length with an underscore', post('Content-Length: 1_0', 'abcdefghij')],
  ['a length with a fraction', post('Content-Length: 5.0', 'abcde')],
  ['a length with a blank in it', post('Content-Length: 5 0', 'abcde')],
  ['a length over 2^53', post('Content-Length: 99999999999999999999', 'abcde')],
  ['a length that wraps around to 5', post('Content-Length: 18446744073709551621', 'abcde')],
  ['TE.TE: xchunked', post('Transfer-Encoding: xchunked', chunkedGet)],
  ['TE.TE: chunked, then another', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: x', chunkedGet)],
  ['TE.TE: another, then chunked', post('Transfer-Encoding: x\r\nTransfer-Encoding: chunked', chunkedGet)],
  ['TE.TE: chunked twice', post('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', chunkedGet)],
  ['TE.TE: chunked, identity', post('Transfer-Encoding: chunked, identity', chunkedGet)],
  ['TE.TE: identity', post('Transfer-Encoding: identity', smuggled)],
  ['TE.TE: a list of chunked', post('Transfer-Encoding: chunked, chunked', chunkedGet)],
  ['TE.TE: in quotes', post('Transfer-Encoding: "chunked"', chunkedGet)],
  ['TE.TE: with a parameter', post('Transfer-Encoding: chunked;q=1', chunkedGet)],
  ['TE.TE: with a comma before', post('Transfer-Encoding: ,chunked', chunkedGet)],
  ['TE.TE: empty', post('Transfer-Encoding:', chunkedGet)],
  ['TE.TE: with a vertical tab', post('Transfer-Encoding: \vchunked', chunkedGet)],
  ['TE.TE: with a form feed', post('Transfer-Encoding: chunked\f', chunkedGet)],
  ['TE.TE: with a tab behind', post('Transfer-Encoding: chunked\t', chunkedGet)],
  ['TE.TE: with NUL', post('Transfer-Encoding: chunked\0', chunkedGet)],
  ['TE.TE: with a byte above ASCII', post('Transfer-Encoding: \xa0chunked', chunkedGet)],
  ['TE.TE: folded', post('Transfer-Encoding:\r\n chunked', chunkedGet)],
  ['TE.TE: folded with a tab', post('X: y\r\n\tTransfer-Encoding: chunked', chunkedGet)],
  ['TE.TE: a blank before the colon', post('Transfer-Encoding : chunked', chunkedGet)],
  ['TE.TE: a tab before the colon', post('Transfer-Encoding\t: chunked', chunkedGet)],
  ['TE.TE: a blank before the name', post(' Transfer-Encoding: chunked', chunkedGet)],
  ['TE.TE: a bare line feed before it', post('X: y\nTransfer-Encoding: chunked', chunkedGet)],
  ['TE.TE: a bare carriage return before it', post('X: y\rTransfer-Encoding: chunked', chunkedGet)],
  ['TE.TE: NUL in the name', post('Transfer\0-Encoding: chunked', chunkedGet)],
  ['TE.TE: a byte above ASCII in the name', post('Transfer-Encoding\x80: chunked', chunkedGet)],
  ['chunked in HTTP/1.0', post('Transfer-Encoding: chunked', chunkedGet, '1.0')],
  ['a length with a blank before the colon', post('Content-Length : 5', 'abcde')],
  ['a length with a vertical tab', post('Content-Length: \v5', 'abcde')],
  ['a length with NUL behind', post('Content-Length: 5\0', 'abcde')],
  ['a length with a comma behind', post('Content-Length: 5,', 'abcde')],
  ['a length in quotes', post('Content-Length: "5"', 'abcde')],
  ['a length that is folded (0.CL)', post('Content-Length:\r\n 5', 'abcde')],
  [
    'a length and a second one folded behind another field',
    post('Content-Length: 5\r\nX: y\r\n Content-Length: 0', 'abcde'),
  ],
  [
    'a length with a blank before the name, first in the head',
    `GET / HTTP/1.1\r\n Content-Length: 5\r\nHost: h\r\n\r\nabcde`,
  ],
  [
    'TE.0: OPTIONS with a coding that is none',
    `OPTIONS / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, x\r\n\r\n${chunkedGet}`,
  ],
  ['an expectation obfuscated', post('Content-Length: 5\r\nExpect: y 100-continue', 'abcde')],
  ['an expectation among others', post('Content-Length: 5\r\nExpect: 100-continue, x', 'abcde')],
  ['an expectation with a parameter', post('Content-Length: 5\r\nExpect: 100-continue;x', 'abcde')],
  ['an empty expectation', post('Content-Length: 5\r\nExpect:', 'abcde')],
  ['a second expectation', post('Content-Length: 5\r\nExpect: 100-continue\r\nExpect: x', 'abcde')],
  ['an expectation with a blank before the colon', post('Content-Length: 5\r\nExpect : 100-continue', 'abcde')],
  ['an expectation that is folded', post('Content-Length: 5\r\nExpect:\r\n 100-continue', 'abcde')],
  ['a host, and one with a blank before the colon', 'GET / HTTP/1.1\r\nHost: h\r\nHost : evil\r\n\r\n'],
  ['a host that is folded', 'GET / HTTP/1.1\r\nHost: h\r\n evil\r\n\r\n'],
  ['a target in absolute form with user information', 'GET http://h@evil/ HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a target in absolute form of another scheme', 'GET file:///etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a target in absolute form without a host', 'GET http:///x HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a target in absolute form beside a Host that is none', 'GET http://h/x HTTP/1.1\r\nHost: a b\r\n\r\n'],
  ['a target in authority form', 'GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['an empty line that ends in a bare line feed before it', '\nGET / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['empty lines without end before it', `${'\r\n'.repeat(10_000)}GET / HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
  ['a field without a colon', post('Content-Length', 'abcde')],
  ['a field without a name', post(': 5', 'abcde')],
  ['CR CR LF at the end of a line', post('X: y\r\r\nContent-Length: 5', 'abcde')],
  ['LF CR at the end of a line', post('X: y\n\rContent-Length: 5', 'abcde')],
  ['a bare line feed at the end of the head', `GET / HTTP/1.1\r\nHost: h\r\n\n${smuggled}`],
  ['a bare carriage return at the end of the head', `GET / HTTP/1.1\r\nHost: h\r\n\r${smuggled}`],
  ['two hosts', 'GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n'],
  ['a host with a path', 'GET / HTTP/1.1\r\nHost: h/x\r\n\r\n'],
  ['a host with user information', 'GET / HTTP/1.1\r\nHost: a@h\r\n\r\n'],
  ['a target with a blank', 'GET /a b HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a target with a tab', 'GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a target with NUL', 'GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a target with bytes above ASCII', 'GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a target with a fragment', 'GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['two blanks before the target', 'GET  / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['two blanks before the version', 'GET /  HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a blank behind the version', 'GET / HTTP/1.1 \r\nHost: h\r\n\r\n'],
  ['a blank before the method', ' GET / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a version of HTTP/0.9', 'GET /\r\n\r\n'],
  ['a version in lower case', 'GET / http/1.1\r\nHost: h\r\n\r\n'],
  ['a version with a zero', 'GET / HTTP/1.01\r\nHost: h\r\n\r\n'],
  ['HTTP/1.2', 'GET / HTTP/1.2\r\nHost: h\r\n\r\n', 505],
  ['HTTP/2.0', 'GET / HTTP/2.0\r\nHost: h\r\n\r\n', 505],
  ['the method of the preface of HTTP/2', 'PRI * HTTP/1.1\r\nHost: h\r\n\r\n', 501],
  ['a method over the limit', `${'M'.repeat(129)} / HTTP/1.1\r\nHost: h\r\n\r\n`, 501],
  ['a method in quotes', '"GET" / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a method with a colon', 'GET: / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a method with a slash', 'GET/1 / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a method with a comma', 'GET,POST / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a method with NUL', 'G\0T / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['a method with a byte above ASCII', 'G\xc9T / HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['an unknown method with an authority for a target', 'LIST h:443 HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['an unknown method with an asterisk for a target', 'LIST * HTTP/1.1\r\nHost: h\r\n\r\n'],
  ['CONNECT in lower case', 'connect h:443 HTTP/1.1\r\nHost: h\r\n\r\n', 405],
  ['TRACE in lower case', 'trace / HTTP/1.1\r\nHost: h\r\n\r\n', 405],
  ['a request line over the limit', `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: h\r\n\r\n`, 414],
  ['a header section over the limit', post(`X: ${'a'.repeat(20_000)}`, ''), 431],
  ['too many fields', post(Array.from({ length: 300 }, () => 'X: y').join('\r\n'), ''), 431],
];

for (const [what, text, status = 400] of refused) {
  test(`${what}: refused with ${status}, nothing of it at the app`, async (t) => {
    const app = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/' })] });
    for (const answer of [await exchangeBytes(port, text), await exchangeBytes(port, ...halves(text))]) {
      assert.match(answer, new RegExp(`^HTTP/1\\.1 ${status} `), answer);
      assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, answer);
      assert.match(answer, /\r\nConnection: close\r\n/);
    }
    assert.deepEqual([app.connections(), app.got], [0, []]);
  });
}

function halves(text: string): string[] {
  const middle = Math.floor(text.length / 2);
  return [text.slice(0, middle), text.slice(middle)];
}

/** The head is good, the chunks are not: the app must not take what it got for a whole body, and nothing behind it for a request. */
const badChunks: readonly (readonly [what: string, body: string])[] = [
  ['a size that is none', `z\r\nabc\r\n${chunkedGet}`],
  ['a size with 0x', `0x3\r\nabc\r\n${chunkedGet}`],
  ['a size with a sign', `+3\r\nabc\r\n${chunkedGet}`],
  ['a negative size', `-3\r\nabc\r\n${chunkedGet}`],
  ['no size', `\r\nabc\r\n${chunkedGet}`],
  ['a blank before the size', ` 3\r\nabc\r\n${chunkedGet}`],
  ['a blank behind the size', `3 \r\nabc\r\n${chunkedGet}`],
  ['a size that wraps around', `10000000000000003\r\nabc\r\n${chunkedGet}`],
  ['a size that is too long', `00000000000000000003\r\nabc\r\n${chunkedGet}`],
  ['a bare line feed behind the size', `3\nabc\r\n${chunkedGet}`],
  ['a bare carriage return behind the size', `3\rabc\r\n${chunkedGet}`],
  ['a chunk longer than its size', `3\r\nabcd\r\n${chunkedGet}`],
  ['a bare line feed behind a chunk', `3\r\nabc\n${chunkedGet}`],
  ['a bare carriage return behind a chunk', `3\r\nabc\r${chunkedGet}`],
  ['nothing behind a chunk', `3\r\nabc3\r\nabc\r\n${chunkedGet}`],
  ['one byte behind a chunk, and one too many (ONE.TWO)', `3\r\nabc\n3\r\nabc\r\n${chunkedGet}`],
  ['two line feeds behind a chunk', `3\r\nabc\n\n${chunkedGet}`],
  ['two other bytes behind a chunk (SPILL.TERM)', `3\r\nabcXX${chunkedGet}`],
  ['a chunk shorter than its size (TERM.SPILL)', `5\r\nabc\r\n${chunkedGet}`],
  ['a line feed within an extension (EXT.TERM)', `3;a\nb=c\r\nabc\r\n${chunkedGet}`],
  ['an extension behind a blank', `3 ;a=b\r\nabc\r\n${chunkedGet}`],
  ['an extension with blanks around its =', `3;a = b\r\nabc\r\n${chunkedGet}`],
  ['an extension with a tab', `3;\ta=b\r\nabc\r\n${chunkedGet}`],
  ['an extension with a backslash in quotes', `3;a="\\\r"\r\nabc\r\n${chunkedGet}`],
  ['an extension whose quote is not closed', `3;a="b\r\nabc\r\n${chunkedGet}`],
  ['an extension with something behind its quote', `3;a="b"c\r\nabc\r\n${chunkedGet}`],
  ['an extension that begins with a bare carriage return', `3;\ra=b\r\nabc\r\n${chunkedGet}`],
  ['a size with an underscore', `1_0\r\nabc\r\n${chunkedGet}`],
  ['a size in another base', `0o3\r\nabc\r\n${chunkedGet}`],
  ['a size of digits above ASCII', `\xb3\r\nabc\r\n${chunkedGet}`],
  ['a size with NUL behind', `3\0\r\nabc\r\n${chunkedGet}`],
  ['a last chunk with a bare carriage return behind its trailer fields', `0\r\nA: b\r\n\r${smuggled}`],
  ['trailer fields that are a request', `0\r\n${smuggled}`],
  ['an extension with a bare line feed (TERM.EXT)', `3;\nxx\r\nabc\r\n${chunkedGet}`],
  ['an extension ended by a bare line feed', `3;a=b\nabc\r\n${chunkedGet}`],
  ['an extension ended by a bare carriage return', `3;a\rabc\r\n${chunkedGet}`],
  ['an extension without a name', `3;\r\nabc\r\n${chunkedGet}`],
  ['an extension with NUL', `3;a\0=b\r\nabc\r\n${chunkedGet}`],
  ['an extension with a line feed in quotes', `3;a="\r\n"\r\nabc\r\n${chunkedGet}`],
  ['extensions that are too long', `3;a=${'b'.repeat(20_000)}\r\nabc\r\n${chunkedGet}`],
  ['a trailer field that is folded', `0\r\nA: b\r\n c\r\n\r\n${smuggled}`],
  ['a trailer field with a bare line feed', `0\r\nA: b\nX: y\r\n\r\n${smuggled}`],
  ['a trailer field with a blank before the colon', `0\r\nA : b\r\n\r\n${smuggled}`],
  ['Content-Length as a trailer field', `0\r\nContent-Length: 5\r\n\r\n${smuggled}`],
  ['Transfer-Encoding as a trailer field', `0\r\nTransfer-Encoding: chunked\r\n\r\n${chunkedGet}`],
  ['a last chunk ended by a bare line feed', `0\r\n\n${smuggled}`],
  ['trailer fields over the limit', `0\r\nA: ${'b'.repeat(9_000)}\r\n\r\n${smuggled}`],
];

for (const [what, body] of badChunks) {
  test(`chunks with ${what}: the call is refused and the connection closed`, async (t) => {
    let whole = 0;
    let requests = 0;
    const app = await startRawApp(t, {
      onData(socket, got) {
        requests = got.match(/ HTTP\/1\.1\r\n/g)?.length ?? 0;
        if (!/\r\n0\r\n(.*\r\n)*\r\n$/.test(got)) return;
        whole += 1;
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      },
    });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/' })] });
    const text = post('Transfer-Encoding: chunked', body);
    for (const answer of [await exchangeBytes(port, text), await exchangeBytes(port, ...halves(text))]) {
      assert.match(answer, /^HTTP\/1\.1 4(00|31) /, answer);
      assert.equal(answer.match(/HTTP\/1\.1 \d/g)?.length, 1, answer);
    }
    assert.equal(whole, 0);
    assert.ok(requests <= 1);
  });
}

test('CL.0: a body of a call that is refused is no request', async (t) => {
  const app = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/a' })] });
  const text = `POST /none HTTP/1.1\r\nHost: h\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`;
  const answer = await exchangeBytes(port, `${text}GET /a/x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
  assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 404', 'HTTP/1.1 200']);
  assert.equal(app.got.length, 1);
  assert.match(app.got[0] ?? '', /^GET \/x /);
});

test('CL.0: a body that the app answers without reading is not its next request', async (t) => {
  const seen: string[] = [];
  const app = await startRawApp(t, {
    onData(socket, got) {
      seen.push(got);
      // Like an app that takes no bodies: answers at the head.
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
    },
  });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/' })] });
  const text = `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: ${smuggled.length}\r\n\r\n`;
  const answer = await exchangeBytes(
    port,
    text,
    `${smuggled}GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`,
  );
  assert.equal(answer.match(/HTTP\/1\.1 200/g)?.length, 2);
  assert.match(seen.at(-1) ?? '', /GET \/next HTTP[^]*$/);
});

/** A good head: what the app gets of it, and where the next request begins. */
const framed: readonly (readonly [what: string, text: string, atApp: RegExp, not?: RegExp])[] = [
  [
    'CL.TE by names that a CGI-like app reads otherwise',
    `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer_Encoding: chunked\r\nContent_Length: 99\r\nTransfer-Encoding_: x\r\n\r\nabcde`,
    /^POST \/ HTTP\/1\.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding_: x\r\n/,
    /Transfer_Encoding|Content_Length/,
  ],
  [
    '0.CL: GET with a body that looks like a request',
    `GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    /^GET \/a HTTP\/1\.1\r\n/,
  ],
  [
    'an expectation in GET with a body',
    `GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    /^GET \/a HTTP\/1\.1\r\nHost: h\r\nContent-Length: \d+\r\n/,
    /Expect/,
  ],
  [
    'an expectation in tabs and other case, and twice',
    `POST /a HTTP/1.1\r\nHost: h\r\neXPECT:\t100-CONTINUE \r\nExpect: 100-continue\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    /^POST \/a HTTP\/1\.1\r\nHost: h\r\nContent-Length: \d+\r\n/,
    /Expect/i,
  ],
  [
    'a body behind an upgrade to h2c',
    `POST /a HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nContent-Length: ${smuggled.length}\r\n\r\n${smuggled}`,
    /^POST \/a HTTP\/1\.1\r\nHost: h\r\nContent-Length: \d+\r\n/,
    /Upgrade|HTTP2-Settings/i,
  ],
  [
    'chunks with a request as data and as an extension',
    `POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${smuggled.length.toString(16)};x="GET /smuggled HTTP/1.1"\r\n${smuggled}\r\n0\r\n\r\n`,
    /^POST \/a HTTP\/1\.1\r\nHost: h\r\n/,
    /;x=/,
  ],
];

for (const [what, text, atApp, not] of framed) {
  test(`${what}: one call with its body, and the next one behind it`, async (t) => {
    const seen: string[] = [];
    const app = await startRawApp(t, {
      onData(socket, got) {
        // Whole by the length or the chunks that the router has told.
        const [, head = '', body = ''] = /^([^]*?\r\n\r\n)([^]*)$/.exec(got.slice(seen.join('').length)) ?? [];
        const length = Number(/\r\nContent-Length: (\d+)\r\n/.exec(head)?.[1] ?? 0);
        if (head === '' || body.length < length) return;
        if (/\r\nTransfer-Encoding: chunked\r\n/.test(head) && !body.endsWith('\r\n0\r\n\r\n')) return;
        seen.push(head + body);
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      },
    });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/' })] });
    const next = 'GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
    for (const parts of [[text + next], halves(text + next)]) {
      seen.length = 0;
      const answer = await exchangeBytes(port, ...parts);
      assert.deepEqual(answer.match(/HTTP\/1\.1 [2-5]\d\d/g), ['HTTP/1.1 200', 'HTTP/1.1 200'], answer);
      assert.equal(seen.length, 2, seen.join('----'));
      assert.match(seen[0] ?? '', atApp);
      if (not !== undefined) assert.doesNotMatch(seen[0] ?? '', not);
      assert.match(seen[1] ?? '', /^GET \/next HTTP\/1\.1\r\nHost: h\r\n/);
    }
  });
}

for (const upgrade of ['h2c', 'H2C', 'websocket, h2c', 'h2c,websocket', ' ,h2c ,']) {
  test(`an upgrade to "${upgrade}" does not reach the app as one`, async (t) => {
    const app = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/' })] });
    const head = `GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: ${upgrade}\r\nHTTP2-Settings: AAM\r\n\r\n`;
    const answer = await exchangeBytes(port, `${head}PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`);
    assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 501']);
    assert.equal(app.got.length, 1);
    assert.doesNotMatch(app.got.join(''), /upgrade|http2-settings/i);
  });
}

test('a call that is refused before its 100 has no body, and its connection no further call', async (t) => {
  const app = await startRawApp(t, { answer: 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n' });
  const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), { path: '/a' })] });
  const head = `POST /none HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n`;
  // The client may send the body or leave it out: what comes could be either.
  const answer = await exchangeBytes(port, `${head}GET /a/evil HTTP/1.1\r\nHost: h\r\n\r\n`);
  assert.deepEqual(answer.match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 404']);
  assert.match(answer, /\r\nConnection: close\r\n/);
  assert.deepEqual(app.got, []);
});

test('each request of a connection goes where its own host leads, whatever the one before said', async (t) => {
  const apps = await Promise.all(
    ['one', 'two'].map((body) =>
      startRawApp(t, { answer: `HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n${body}`, when: /\r\n\r\n$/ }),
    ),
  );
  const routes = apps.map((app, index) =>
    routeOf(`app-${index}`, ready({ ...app.target, id: `t-${index}` }), { host: `${index}.example`, path: '/' }),
  );
  const { port } = await startTestRouter(t, { routes });
  const hosts = ['0.example', '1.example', '0.EXAMPLE:80', '1.example', 'none.example', '1.example'];
  const last = 'GET http://0.example/ HTTP/1.1\r\nHost: 1.example\r\nConnection: close\r\n\r\n';
  const answer = await exchangeBytes(
    port,
    hosts.map((host) => `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`).join('') + last,
  );
  assert.deepEqual(answer.match(/one|two|HTTP\/1\.1 404/g), ['one', 'two', 'one', 'two', 'HTTP/1.1 404', 'two', 'one']);
});

test('H2-like and other pseudo fields are no tokens and are refused', async (t) => {
  const { port } = await startTestRouter(t, {});
  const answer = await exchangeBytes(port, 'GET / HTTP/1.1\r\nHost: h\r\n:path: /x\r\n\r\n');
  assert.match(answer, /^HTTP\/1\.1 400 /);
});
