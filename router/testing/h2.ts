/** For tests of HTTP/2: clients and apps that speak it by node:http2. */
import {
  connect,
  createServer,
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type Http2Server,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import type { Target } from '../../shared/protocol/routes.ts';

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

export interface Http2App {
  readonly target: Target;
  readonly server: Http2Server;
  readonly sessions: ReadonlySet<ServerHttp2Session>;
  kill(): Promise<void>;
}

/** An app that speaks HTTP/2 without TLS, on a free port, closed after the test. */
export async function startHttp2App(
  t: TestContext,
  onStream: (stream: ServerHttp2Stream, headers: Readonly<Record<string, string | undefined>>) => void,
  options: Parameters<typeof createServer>[0] = {},
): Promise<Http2App> {
  const sessions = new Set<ServerHttp2Session>();
  const server = createServer(options);
  server.on('session', (session) => {
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    session.on('error', () => undefined);
  });
  server.on('stream', (stream, headers) => {
    stream.on('error', () => undefined);
    onStream(stream, headers as Record<string, string | undefined>);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const kill = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      for (const session of sessions) session.destroy();
    });
  t.after(kill);
  const { port } = server.address() as AddressInfo;
  return { target: { id: `h2-${port}`, host: '127.0.0.1', port }, server, sessions, kill };
}
