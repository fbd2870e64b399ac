/** For tests of HTTP/2: clients and apps that speak it by node:http2. */
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type OutgoingHttpHeaders } from 'node:http2';
import type { TestContext } from 'node:test';

export function openSession(t: TestContext, port: number): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`);
  session.on('error', () => undefined);
  t.after(() => session.destroy());
  return session;
}

export interface StreamAnswer {
  readonly status: number;
  /** Names and values, as they came. */
  readonly fields: Readonly<Record<string, string | string[] | undefined>>;
  readonly interim: readonly number[];
  readonly trailers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** 0 where it came to its proper end. */
  readonly code: number;
}

/** Reads the answer to a request that is on its way. */
export function answerOf(stream: ClientHttp2Stream): Promise<StreamAnswer> {
  return new Promise((resolve) => {
    let status = 0;
    let fields: StreamAnswer['fields'] = {};
    let trailers: StreamAnswer['trailers'] = {};
    const interim: number[] = [];
    const chunks: Buffer[] = [];
    stream.on('headers', (given) => interim.push(given[':status'] ?? 0));
    stream.on('response', (given) => {
      status = given[':status'] ?? 0;
      fields = given;
    });
    stream.on('trailers', (given) => (trailers = given));
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('error', () => undefined);
    stream.on('close', () => {
      resolve({ status, fields, interim, trailers, body: Buffer.concat(chunks).toString(), code: stream.rstCode ?? 0 });
    });
  });
}

/** One call by a stream of its own. */
export function callBy(
  session: ClientHttp2Session,
  path: string,
  headers: OutgoingHttpHeaders = {},
  body?: string | Buffer,
): Promise<StreamAnswer> {
  const stream = session.request({ ':path': path, ...headers }, { endStream: body === undefined });
  const answer = answerOf(stream);
  if (body !== undefined) stream.end(body);
  return answer;
}
