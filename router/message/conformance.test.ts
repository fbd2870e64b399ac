import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchangeBytes, startRawApp } from '../testing/raw-bytes.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

/** What the router adds, which every case has: told apart so that the cases show the rest. */
const added =
  /X-Forwarded-For: 127\.0\.0\.1\r\nX-Forwarded-Proto: https?\r\nX-Forwarded-Host: [^\r]*\r\nForwarded: [^\r]*\r\nX-Request-Id: [-0-9a-f]{36}\r\ntraceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01\r\n/;
const dated = /Date: [^\r]*\r\n/;

interface Case {
  readonly what: string;
  /** From the client; the last request of it says `Connection: close`, or the answer ends the connection. */
  readonly sends: string;
  /** At the app, without what is always added. */
  readonly app: string;
  /** From the app, at once when the request has come. */
  readonly says: string;
  /** When the request has come: by default its head. */
  readonly when?: RegExp;
  /** The app closes behind it. */
  readonly ends?: boolean;
  /** At the client, without Date where the app said none. */
  readonly gets: string;
}

/** Chunks of one byte, as they come of a request that is cut, as one. */
function joinChunks(text: string): string {
  return text.replace(/(?:\r\n1\r\n[^])+\r\n0/, (chunks) => {
    const data = chunks.slice(0, -3).replaceAll(/\r\n1\r\n([^])/g, '$1');
    return `\r\n${data.length.toString(16)}\r\n${data}\r\n0`;
  });
}

const get = 'GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n';
const atApp = 'GET /x HTTP/1.1\r\nHost: h\r\n\r\n';
const ok = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\n\r\nok';
const okClosed = 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok';

const cases: readonly Case[] = [
  { what: 'a plain GET', sends: get, app: atApp, says: ok, gets: okClosed },
  {
    what: 'names in their case, order and repetition, values with what bytes they have',
    sends:
      'GET /x HTTP/1.1\r\nx-ONE:  a b \t\r\nHost: h\r\nX-One: \xe9\x80\r\nEmpty:\r\nConnection: close\r\nX-one: c:d\r\n\r\n',
    app: 'GET /x HTTP/1.1\r\nx-ONE:  a b \t\r\nHost: h\r\nX-One: \xe9\x80\r\nEmpty:\r\nX-one: c:d\r\n\r\n',
    says: 'HTTP/1.1 200 OK\r\nZ: 1\r\na: 2\r\nDate: d\r\nContent-Length: 0\r\nZ: \xff\r\n\r\n',
    gets: 'HTTP/1.1 200 OK\r\nZ: 1\r\na: 2\r\nDate: d\r\nContent-Length: 0\r\nZ: \xff\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'fields of the connection, and those that it names',
    sends:
      'GET /x HTTP/1.1\r\nHost: h\r\nKeep-Alive: 5\r\nX-Hop: 1\r\nProxy-Connection: x\r\nConnection: close, x-hop\r\nConnection: , x-2\r\nX-2: 3\r\nX-3: 4\r\n\r\n',
    app: 'GET /x HTTP/1.1\r\nHost: h\r\nX-3: 4\r\n\r\n',
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\nConnection: keep-alive, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok',
    gets: okClosed,
  },
  ...['/%2F//a;b?', '/a%2fb', '/?', '/*', '/a|b{c}"', '//'].map((path): Case => ({
    what: `the path ${path} as it is`,
    sends: get.replace('/x', path),
    app: atApp.replace('/x', path),
    says: ok,
    gets: okClosed,
  })),
  {
    what: 'a target in absolute form, whose authority is the host',
    sends: get.replace('/x', 'http://other:81/y?z').replace('Host: h', 'X-Before: 1\r\nHost: h'),
    app: 'GET /y?z HTTP/1.1\r\nX-Before: 1\r\nHost: other:81\r\n\r\n',
    says: ok,
    gets: okClosed,
  },
  {
    what: 'a target in absolute form without a path',
    sends: get.replace('/x', 'http://h?q'),
    app: atApp.replace('/x', '/?q'),
    says: ok,
    gets: okClosed,
  },
  {
    what: 'OPTIONS *',
    sends: get.replace('GET /x', 'OPTIONS *'),
    app: atApp.replace('GET /x', 'OPTIONS *'),
    says: ok,
    gets: okClosed,
  },
  {
    what: 'OPTIONS of an absolute target without path, which is OPTIONS *',
    sends: get.replace('GET /x', 'OPTIONS http://h'),
    app: atApp.replace('GET /x', 'OPTIONS *'),
    says: ok,
    gets: okClosed,
  },
  {
    what: 'a body by its length, on any method',
    sends: 'DELETE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc',
    app: 'DELETE /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc',
    when: /abc$/,
    says: ok,
    gets: okClosed,
  },
  {
    what: 'a body in chunks, without their extensions, and trailer fields but those that route or are of the connection',
    sends:
      'POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Sum\r\nConnection: close\r\n\r\n3;a=b;c="d e"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nHost: evil\r\nConnection: close\r\n\r\n',
    app: 'POST /x HTTP/1.1\r\nHost: h\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nabc0123456789\r\n0\r\nX-Sum: 1\r\n\r\n',
    when: /X-Sum: 1\r\n\r\n$/,
    says: ok,
    gets: okClosed,
  },
  {
    what: 'an answer in chunks with trailer fields',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n000\r\nT: 1\r\nt: 2\r\n\r\n',
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nTrailer: T\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\nT: 1\r\nt: 2\r\n\r\n',
  },
  {
    what: 'an answer in chunks to HTTP/1.0, which gets its bytes and the end',
    sends: 'GET /x HTTP/1.0\r\n\r\n',
    app: 'GET /x HTTP/1.1\r\nHost: \r\n\r\n',
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n',
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\nabc',
  },
  {
    what: 'HEAD, whose answer has a length and no body',
    sends: get.replace('GET', 'HEAD'),
    app: atApp.replace('GET', 'HEAD'),
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1000\r\n\r\n',
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'HEAD answered as if in chunks',
    sends: get.replace('GET', 'HEAD'),
    app: atApp.replace('GET', 'HEAD'),
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n',
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\n',
  },
  ...[204, 304].map((status): Case => ({
    what: `${status}, which has no body`,
    sends: get,
    app: atApp,
    says: `HTTP/1.1 ${status} X\r\nDate: d\r\nETag: "x"\r\n\r\n`,
    gets: `HTTP/1.1 ${status} X\r\nDate: d\r\nETag: "x"\r\nConnection: close\r\n\r\n`,
  })),
  {
    what: '304 that tells the length of what it has not',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 304 X\r\nDate: d\r\nContent-Length: 7\r\n\r\n',
    gets: 'HTTP/1.1 304 X\r\nDate: d\r\nContent-Length: 7\r\nConnection: close\r\n\r\n',
  },
  {
    what: '204 with a length of none',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 204 X\r\nDate: d\r\nContent-Length: 0\r\n\r\n',
    gets: 'HTTP/1.1 204 X\r\nDate: d\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'a status without a reason',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 599 \r\nDate: d\r\nContent-Length: 0\r\n\r\n',
    gets: 'HTTP/1.1 599 \r\nDate: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'a status without a reason and the blank before it',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 200\r\nDate: d\r\nContent-Length: 0\r\n\r\n',
    gets: 'HTTP/1.1 200 \r\nDate: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
  },
  {
    what: '100 of the app left out, 103 passed on',
    sends: get,
    app: atApp,
    says: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}`,
    gets: `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${okClosed}`,
  },
  {
    what: '103 kept from HTTP/1.0',
    sends: 'GET /x HTTP/1.0\r\nHost: h\r\n\r\n',
    app: atApp,
    says: `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${ok}`,
    gets: okClosed,
  },
  {
    what: 'an Expect that is answered when the call is sent, and not passed on',
    sends: 'POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 1\r\nConnection: close\r\n\r\na',
    app: 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na',
    when: /a$/,
    says: ok,
    gets: `HTTP/1.1 100 Continue\r\n\r\n${okClosed}`,
  },
  ...['GET', 'HEAD', 'OPTIONS', 'QUERY', 'PROPFIND'].flatMap((method): Case[] => {
    const gets = method === 'HEAD' ? okClosed.slice(0, -2) : okClosed;
    const says = method === 'HEAD' ? ok.slice(0, -2) : ok;
    return [
      {
        what: `${method} with a body by its length`,
        sends: `${method} /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc`,
        app: `${method} /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc`,
        when: /abc$/,
        says,
        gets,
      },
      {
        what: `${method} with a body in chunks`,
        sends: `${method} /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
        app: `${method} /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`,
        when: /\r\n0\r\n\r\n$/,
        says,
        gets,
      },
    ];
  }),
  {
    what: 'a length of none, which stays one',
    sends: 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
    app: 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n',
    says: ok,
    gets: okClosed,
  },
  {
    what: 'POST without a body and a length',
    sends: 'POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n',
    app: 'POST /x HTTP/1.1\r\nHost: h\r\n\r\n',
    says: ok,
    gets: okClosed,
  },
  {
    what: 'fields that frame or route, although Connection names them',
    sends:
      'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close, content-length, HOST, Transfer-Encoding, X-Forwarded-For, X-Request-Id, traceparent\r\n\r\nabc',
    app: 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc',
    when: /abc$/,
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok',
    gets: okClosed,
  },
  ...['HTTPS://other', 'http://other'].map((origin): Case => ({
    what: `a target in absolute form of ${origin} with an empty query`,
    sends: get.replace('/x', `${origin}/y//z;p?`),
    app: 'GET /y//z;p? HTTP/1.1\r\nHost: other\r\n\r\n',
    says: ok,
    gets: okClosed,
  })),
  {
    what: 'a target in absolute form in HTTP/1.0, which needs no Host',
    sends: 'GET http://other/y HTTP/1.0\r\n\r\n',
    app: 'GET /y HTTP/1.1\r\nHost: other\r\n\r\n',
    says: ok,
    gets: okClosed,
  },
  ...['Close', 'keep-alive, close', 'x,\tCLOSE ,', 'close, keep-alive'].map((value): Case => ({
    what: `Connection: ${value}, which closes`,
    sends: `GET /x HTTP/1.1\r\nHost: h\r\nconnection:${value}\r\n\r\n`,
    app: atApp,
    says: ok,
    gets: okClosed,
  })),
  {
    what: 'an Expect in HTTP/1.0, which does not know it',
    sends: 'POST /x HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na',
    app: 'POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\na',
    when: /a$/,
    says: ok,
    gets: okClosed,
  },
  {
    what: 'an Expect without a body, which waits for nothing',
    sends: 'GET /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n',
    app: atApp,
    says: ok,
    gets: okClosed,
  },
  {
    what: 'trailer fields that nobody announced, and TE',
    sends:
      'POST /x HTTP/1.1\r\nHost: h\r\nTE: trailers;q=0.5, deflate\r\nTransfer-Encoding: chunked\r\nConnection: close, TE\r\n\r\n0\r\nx-a: 1\r\nX-A:2\r\n\r\n',
    app: 'POST /x HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nConnection: TE\r\n\r\n0\r\nx-a: 1\r\nX-A:2\r\n\r\n',
    when: /X-A:2\r\n\r\n$/,
    says: ok,
    gets: okClosed,
  },
  {
    what: 'several interim answers, known or not',
    sends: get,
    app: atApp,
    says: `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 199 \r\nX: y\r\n\r\n${ok}`,
    gets: `HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 199 \r\nX: y\r\n\r\n${okClosed}`,
  },
  {
    what: '205 with a length of none, and a status that nobody knows with a body',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 205 Reset\r\nDate: d\r\nContent-Length: 0\r\n\r\n',
    gets: 'HTTP/1.1 205 Reset\r\nDate: d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'an answer of HTTP/1.0 with a length',
    sends: get,
    app: atApp,
    says: 'HTTP/1.0 200 OK\r\nDate: d\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok',
    gets: okClosed,
  },
  {
    what: 'an answer of HTTP/1.0 that ends with its connection',
    sends: get,
    app: atApp,
    says: 'HTTP/1.0 200 OK\r\nDate: d\r\n\r\nall of it',
    ends: true,
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n9\r\nall of it\r\n0\r\n\r\n',
  },
  {
    what: 'an answer that ends with its connection, to HTTP/1.0',
    sends: 'GET /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n',
    app: atApp,
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\nall of it',
    ends: true,
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\nall of it',
  },
  {
    what: 'an empty answer that ends with its connection',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\n\r\n',
    ends: true,
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n',
  },
  {
    what: 'HEAD answered without any length',
    sends: get.replace('GET', 'HEAD'),
    app: atApp.replace('GET', 'HEAD'),
    says: 'HTTP/1.1 200 OK\r\nDate: d\r\n\r\n',
    gets: 'HTTP/1.1 200 OK\r\nDate: d\r\nConnection: close\r\n\r\n',
  },
  {
    what: 'empty lines before the request',
    sends: `\r\n\r\n${get}`,
    app: atApp,
    says: ok,
    gets: okClosed,
  },
  {
    what: 'an answer without a date, which gets one',
    sends: get,
    app: atApp,
    says: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok',
    gets: 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok',
  },
];

for (const { what, sends, app, says, when, ends = false, gets } of cases) {
  test(`${what}: whole, and cut at every byte`, async (t) => {
    const raw = await startRawApp(t, { answer: says, ends, ...(when === undefined ? undefined : { when }) });
    const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(raw.target), { path: '/' })] });
    const check = async (parts: readonly string[]): Promise<void> => {
      raw.got.length = 0;
      const answer = await exchangeBytes(port, ...parts);
      assert.equal(joinChunks(raw.got.join('').replace(added, '')), app);
      assert.equal(/\r\nDate: d\r\n/.test(gets) ? answer : answer.replace(dated, ''), gets);
    };
    await check([sends]);
    // Each of its bytes comes by itself.
    await check(Array.from(sends));
  });
}
