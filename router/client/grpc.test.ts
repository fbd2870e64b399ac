import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type MethodDefinition,
  type ServerDuplexStream,
  type ServiceError,
} from '@grpc/grpc-js';
import type { Target } from '../../shared/protocol/routes.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, ready, routeOf, startTestRouter } from '../testing/router.ts';

const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value };

function method(name: string, streams: boolean): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/test.Echo/${name}`,
    requestStream: streams,
    responseStream: streams,
    requestSerialize: bytes.serialize,
    requestDeserialize: bytes.deserialize,
    responseSerialize: bytes.serialize,
    responseDeserialize: bytes.deserialize,
  };
}

const echo = { unary: method('Unary', false), fails: method('Fails', false), chat: method('Chat', true) };

interface GrpcApp {
  readonly target: Target;
  /** Lets calls end, as an app that is told to stop does. */
  stop(): void;
}

async function startGrpcApp(t: TestContext, version: string): Promise<GrpcApp> {
  const server = new Server();
  server.addService(echo, {
    unary(
      call: { request: Buffer; metadata: Metadata },
      done: (error: null, value: Buffer, trailers: Metadata) => void,
    ) {
      const trailers = new Metadata();
      trailers.set('x-version', version);
      trailers.set('x-bytes-bin', Buffer.from([0, 255]));
      done(null, Buffer.from(`${version} ${call.request.toString()}`), trailers);
    },
    fails(_: unknown, done: (error: Partial<ServiceError>) => void) {
      done({ code: status.FAILED_PRECONDITION, details: 'not today: 100 % sure' });
    },
    chat(call: ServerDuplexStream<Buffer, Buffer>) {
      call.on('data', (word: Buffer) => call.write(Buffer.from(`${version} ${word.toString()}`)));
      call.on('end', () => call.end());
      // Its client may leave.
      call.on('error', () => undefined);
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  t.after(() => server.forceShutdown());
  return {
    target: { id: `${version}-${port}`, host: '127.0.0.1', port },
    stop: () => server.tryShutdown(() => undefined),
  };
}

function clientOf(t: TestContext, port: number): Client {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  t.after(() => client.close());
  return client;
}

interface Unary {
  readonly value: string | undefined;
  readonly error: ServiceError | null;
  readonly trailers: Metadata;
}

function unary(client: Client, text: string, asked = echo.unary): Promise<Unary> {
  return new Promise((resolve) => {
    let trailers = new Metadata();
    let result: Omit<Unary, 'trailers'> | undefined;
    const deadline = Date.now() + 15_000;
    const call = client.makeUnaryRequest(
      asked.path,
      bytes.serialize,
      bytes.deserialize,
      Buffer.from(text),
      new Metadata(),
      { deadline },
      (error, value) => {
        result = { value: value?.toString(), error };
      },
    );
    call.on('status', (given) => {
      trailers = given.metadata;
      setImmediate(() => resolve({ value: result?.value, error: result?.error ?? null, trailers }));
    });
  });
}

const grpc = { protocol: 'h2c', path: '/', stripPath: false } as const;

test('gRPC: a call on a cold app is held, then answered with its trailers; errors come through', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep, grpc)] });
  const client = clientOf(t, port);
  const held = unary(client, 'hello');
  await until(() => router.held === 1, 'a held call');
  const app = await startGrpcApp(t, 'v1');
  agent.push(routeOf('a', ready(app.target), grpc));
  const { value, error, trailers } = await held;
  assert.deepEqual([value, error], ['v1 hello', null]);
  assert.deepEqual(trailers.get('x-version'), ['v1']);
  assert.deepEqual(trailers.get('x-bytes-bin'), [Buffer.from([0, 255])]);
  const failed = await unary(client, 'x', echo.fails);
  assert.deepEqual([failed.error?.code, failed.error?.details], [status.FAILED_PRECONDITION, 'not today: 100 % sure']);
});

test('gRPC: both sides stream at once, also one that began while the app was cold', async (t) => {
  const { agent, router, port } = await startTestRouter(t, { routes: [routeOf('a', asleep, grpc)] });
  const client = clientOf(t, port);
  const chat = client.makeBidiStreamRequest(echo.chat.path, bytes.serialize, bytes.deserialize);
  const words: string[] = [];
  let ended = '';
  chat.on('data', (word: Buffer) => words.push(word.toString()));
  chat.on('status', (given) => (ended = status[given.code]));
  chat.on('error', () => undefined);
  chat.write(Buffer.from('early'));
  await until(() => router.held === 1, 'a held call');
  const app = await startGrpcApp(t, 'v1');
  agent.push(routeOf('a', ready(app.target), grpc));
  await until(() => words.length === 1, 'the first echo');
  for (let index = 0; index < 100; index += 1) chat.write(Buffer.alloc(10_000, 'x'));
  await until(() => words.length === 101, 'all echoes');
  chat.end();
  await until(() => ended !== '', 'the end');
  assert.deepEqual([words[0], ended], ['v1 early', 'OK']);
});

test('gRPC: calls in a row through changes of version see no error, and streams end where they began', async (t) => {
  let app = await startGrpcApp(t, 'v1');
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', ready(app.target), grpc)] });
  const client = clientOf(t, port);
  const chat = client.makeBidiStreamRequest(echo.chat.path, bytes.serialize, bytes.deserialize);
  const words: string[] = [];
  chat.on('data', (word: Buffer) => words.push(word.toString()));
  chat.on('error', () => undefined);
  chat.write(Buffer.from('one'));
  await until(() => words.length === 1, 'the first echo');
  const results: Unary[] = [];
  let going = true;
  const callers = Array.from({ length: 8 }, async () => {
    while (going) results.push(await unary(client, 'x'));
  });
  for (const version of ['v2', 'v3', 'v4']) {
    const enough = results.length + 200;
    const before = app;
    app = await startGrpcApp(t, version);
    agent.push(routeOf('a', { state: 'hold', reason: 'updating' }, grpc));
    agent.push(routeOf('a', ready(app.target), grpc));
    before.stop();
    await until(() => results.length > enough, `calls of ${version}`);
  }
  going = false;
  await Promise.all(callers);
  const errors = results.filter(({ error }) => error !== null).map(({ error }) => error?.message);
  assert.deepEqual(errors, []);
  assert.equal((await unary(client, 'x')).value, 'v4 x');
  chat.write(Buffer.from('two'));
  await until(() => words.length === 2, 'the second echo');
  assert.deepEqual(words, ['v1 one', 'v1 two']);
  chat.end();
});

test('gRPC: what the router refuses is a status of gRPC with its reason', async (t) => {
  const { agent, port } = await startTestRouter(t, { routes: [routeOf('a', asleep, { ...grpc, holdTimeoutMs: 50 })] });
  const client = clientOf(t, port);
  const late = await unary(client, 'x');
  assert.equal(late.error?.code, status.UNAVAILABLE);
  assert.match(late.error?.details ?? '', /^hold_timeout: /);
  agent.remove('a');
  const none = await unary(client, 'x');
  assert.equal(none.error?.code, status.UNIMPLEMENTED);
});
