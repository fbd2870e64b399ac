/** Answers that an app may give by HTTP/1.1, and that node's HTTP/2 does not take as they are: none may end the router. */
import assert from 'node:assert/strict';
import { connect, type ClientHttp2Session } from 'node:http2';
import { test, type TestContext } from 'node:test';
import { startRawApp } from '../testing/raw-bytes.ts';
import { ready, routeOf, startTestRouter } from '../testing/router.ts';

interface Got {
  readonly status: number;
  readonly fields: readonly string[];
  readonly trailers: readonly string[];
  readonly body: string;
  readonly error: string | undefined;
}

function ask(session: ClientHttp2Session, method: string): Promise<Got> {
  return new Promise((resolve) => {
    const stream = session.request({ ':path': '/a', ':method': method });
    let body = '';
    let status = 0;
    let fields: string[] = [];
    let trailers: string[] = [];
    let error: string | undefined;
    stream.setEncoding('latin1');
    stream.on('response', (headers, _flags, raw: string[]) => {
      status = Number(headers[':status']);
      fields = raw;
    });
    stream.on('trailers', (_headers, _flags, raw: string[]) => (trailers = raw));
    stream.on('data', (chunk: string) => (body += chunk));
    stream.on('error', (reason: NodeJS.ErrnoException) => (error = reason.code));
    stream.on('close', () => resolve({ status, fields, trailers, body, error }));
    stream.end();
  });
}

async function open(t: TestContext, port: number): Promise<ClientHttp2Session> {
  const session = connect(`http://127.0.0.1:${port}`, { strictSingleValueFields: false } as object);
  session.on('error', () => undefined);
  t.after(() => session.destroy());
  await new Promise((resolve) => session.once('connect', resolve));
  return session;
}

const length = 'Content-Length: 2\r\n\r\nok';
const chunks = 'Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n';
const answers: readonly (readonly [what: string, says: string, status: number, body: string])[] = [
  [
    'fields of a connection',
    `HTTP/1.1 200 OK\r\nHTTP2-Settings: AAM\r\nProxy-Connection: x\r\nUpgrade: x\r\nTE: gzip\r\n${length}`,
    200,
    'ok',
  ],
  [
    'fields of a connection as trailers',
    `HTTP/1.1 200 OK\r\n${chunks}HTTP2-Settings: AAM\r\nProxy-Connection: x\r\nTE: gzip\r\nX: y\r\n\r\n`,
    200,
    'ok',
  ],
  [
    'fields twice that are one',
    `HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Type: c/d\r\nETag: "x"\r\nETag: "y"\r\nAge: 1\r\nAge: 2\r\n${length}`,
    200,
    'ok',
  ],
  ['the same as trailers', `HTTP/1.1 200 OK\r\n${chunks}ETag: "x"\r\nETag: "y"\r\nAge: 1\r\nAge: 2\r\n\r\n`, 200, 'ok'],
  [
    'the same in an interim answer',
    `HTTP/1.1 103 Early Hints\r\nETag: "x"\r\nETag: "y"\r\nLocation: /a\r\nLocation: /b\r\nHTTP2-Settings: x\r\n\r\nHTTP/1.1 200 OK\r\n${length}`,
    200,
    'ok',
  ],
  [
    'an interim status that nobody knows',
    `HTTP/1.1 199 X\r\n\r\nHTTP/1.1 150 Y\r\n\r\nHTTP/1.1 200 OK\r\n${length}`,
    200,
    'ok',
  ],
  ['a status that nobody knows', `HTTP/1.1 999 X\r\n${length}`, 502, 'ok'],
  ['another one', `HTTP/1.1 600 X\r\n${length}`, 502, 'ok'],
  ['205 with a body', `HTTP/1.1 205 Reset\r\n${length}`, 205, ''],
  [
    'a field without a value, and bytes above ASCII',
    `HTTP/1.1 200 OK\r\nEmpty:\r\nX: \xe9\xff\r\n${length}`,
    200,
    'ok',
  ],
  [
    'cookies, many',
    `HTTP/1.1 200 OK\r\n${Array.from({ length: 100 }, (_, index) => `Set-Cookie: a${index}=b\r\n`).join('')}${length}`,
    200,
    'ok',
  ],
  [
    'names that objects have',
    `HTTP/1.1 200 OK\r\n__proto__: x\r\nconstructor: y\r\ntoString: z\r\n${length}`,
    200,
    'ok',
  ],
  ['the same as trailers', `HTTP/1.1 200 OK\r\n${chunks}__proto__: x\r\nconstructor: y\r\n\r\n`, 200, 'ok'],
];

for (const [what, says, status, body] of answers) {
  for (const method of ['GET', 'HEAD']) {
    test(`to ${method} over HTTP/2: ${what}`, async (t) => {
      const text = method === 'HEAD' ? says.slice(0, says.lastIndexOf('\r\n\r\nok') + 4) : says;
      const app = await startRawApp(t, {
        answer:
          method === 'HEAD' && says.includes('chunked')
            ? `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n`
            : text,
      });
      const { port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target))] });
      const session = await open(t, port);
      const got = await ask(session, method);
      assert.deepEqual([got.error, got.status, got.body], [undefined, status, method === 'HEAD' ? '' : body]);
      // The session goes on.
      assert.equal((await ask(session, method)).status, status);
      assert.doesNotMatch([...got.fields, ...got.trailers].join(' '), /http2-settings|proxy-connection|upgrade|gzip/i);
    });
  }
}
