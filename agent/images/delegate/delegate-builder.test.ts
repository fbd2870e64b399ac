import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { silenceMs } from '../../../shared/protocol/builder-wire.ts';
import { createManualClock } from '../../../shared/wait/testing/manual-clock.ts';
import type { BuildOptions } from '../builder.ts';
import { createDelegateBuilder, type DelegateBuilderDeps } from './delegate-builder.ts';
import { delegateDeps, folderOf, requestOf, type Heard } from '../../testing/builder.ts';

const digest = `sha256:${'a'.repeat(64)}`;
const image = 'registry.example/team/app:1';

interface Ground {
  readonly heard: Heard;
  build(more?: Parameters<typeof requestOf>[2], signal?: AbortSignal): Promise<string>;
  readonly builder: ReturnType<typeof createDelegateBuilder>;
  readonly url: string;
}

/** A builder that answers as the test says, and the delegate of it. */
async function setUp(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void | Promise<void>,
  deps: Partial<DelegateBuilderDeps> = {},
): Promise<Ground> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/prefix/`;
  const builder = createDelegateBuilder({ ...delegateDeps(url), ...deps });
  t.after(async () => {
    await builder.close();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  });
  const heard: Heard = { phases: [], lines: [] };
  const folder = await folderOf(t, { Dockerfile: 'FROM scratch' });
  return {
    heard,
    builder,
    url,
    build(more = {}, signal = AbortSignal.timeout(20_000)) {
      const options: BuildOptions = {
        signal,
        onPhase: (message) => heard.phases.push(message),
        onLine: (line) => heard.lines.push(line),
      };
      return builder.build(requestOf(folder, image, more), options);
    },
  };
}

const say = (response: ServerResponse, ...events: unknown[]): void => {
  for (const event of events) response.write(`${JSON.stringify(event)}\n`);
};

test('the request is multipart with a token; the answer is followed, and secrets in it are masked', async (t) => {
  let [body, type, token, path] = ['', '', '', ''];
  const ground = await setUp(
    t,
    async (request, response) => {
      [path, type, token] = [
        request.url ?? '',
        request.headers['content-type'] ?? '',
        request.headers.authorization ?? '',
      ];
      body = await text(request.setEncoding('latin1'));
      say(response, { queued: 2 }, { alive: true }, { phase: 'building' }, { line: 'says s3cret-value' });
      say(response, { phase: 'pushing' }, { digest });
      response.end();
    },
    { args: { HTTPS_PROXY: 'http://proxy', OWN: 'default' } },
  );
  const given = await ground.build({ args: { OWN: 'app' }, secretArgs: { TOKEN: 's3cret-value' }, target: 'final' });
  assert.equal(given, digest);
  assert.equal(path, '/prefix/builds');
  assert.equal(token, 'Bearer token-of-the-builder-0123456789');
  assert.match(type, /^multipart\/form-data; boundary=/);
  const meta = JSON.parse(/name="meta"[^{]*(\{.*\})\r\n--/.exec(body)?.[1] ?? '') as unknown;
  assert.deepEqual(meta, {
    tag: 'tag1',
    image,
    dockerfile: 'Dockerfile',
    args: { HTTPS_PROXY: 'http://proxy', OWN: 'app' },
    secretArgs: { TOKEN: 's3cret-value' },
    target: 'final',
    labels: { 'holdfast.dev/app': 'hello', 'holdfast.dev/version': '1' },
  });
  assert.match(body, /name="file"; filename="context\.tar\.gz"\r\nContent-Type: application\/gzip\r\n\r\n/);
  assert.ok(body.includes('\u001f\u008b'), 'the context is gzip');
  assert.deepEqual(ground.heard.lines, ['says ***']);
  assert.match(ground.heard.phases.join('; '), /number 2 in its queue; building on 127.*; pushing registry\.example/);
});

test('a failure told by the builder has its code, message, step and last lines', async (t) => {
  const ground = await setUp(t, (request, response) => {
    request.resume();
    const error = { code: 'build_failed', message: 'step RUN x failed with s3cret', step: 'RUN x', exitCode: 2 };
    say(response, { error: { ...error, logs: ['a', 's3cret'] } });
    response.end();
  });
  await assert.rejects(ground.build({ secretArgs: { S: 's3cret' } }), {
    code: 'build_failed',
    message: 'step RUN x failed with ***',
    phase: 'build',
    data: { step: 'RUN x', exitCode: 2, logs: ['a', '***'] },
  });
});

test('a builder that ends without a verdict, breaks off or talks nonsense is not available', async (t) => {
  const answers: [answer: (response: ServerResponse) => void, message: RegExp][] = [
    [(response) => response.end(), /ended its answer without a result/],
    [(response) => response.end('{"line":"x"}\n'), /ended its answer without a result/],
    [(response) => response.end('<html>\n'), /not that of a builder/],
    [(response) => response.end('{"digest":"sha256:short"}\n'), /not that of a builder/],
    [(response) => response.writeHead(302, { location: 'http://elsewhere.example' }).end(), /answered 302/],
    [(response) => response.writeHead(500).end('oops'), /answered 500/],
    [(response) => response.destroy(), /could not use the builder/],
    [(response) => response.write('{"line":"x"}\n', () => response.destroy()), /could not use the builder/],
  ];
  let turn = 0;
  const ground = await setUp(t, (request, response) => {
    request.resume();
    request.once('end', () => answers[turn]?.[0](response));
  });
  for (; turn < answers.length; turn += 1) {
    await assert.rejects(ground.build(), { code: 'builder_unavailable', message: answers[turn]?.[1], phase: 'build' });
  }
});

test('a builder that nobody listens at is not available', async (t) => {
  const ground = await setUp(t, () => undefined);
  const nobody = createDelegateBuilder(delegateDeps('http://127.0.0.1:1'));
  const folder = await folderOf(t, {});
  const options = { signal: AbortSignal.timeout(10_000), onPhase: () => undefined, onLine: () => undefined };
  await assert.rejects(nobody.build(requestOf(folder, image), options), {
    code: 'builder_unavailable',
    message: /ECONNREFUSED/,
  });
  await ground.builder.cancel('nothing');
  assert.deepEqual(await ground.builder.underWay(options.signal), []);
});

test('a refusal is read though the context is still being sent', async (t) => {
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) yield Buffer.alloc(65_536, 1);
  }
  const ground = await setUp(
    t,
    (_request, response) => {
      // Its body is not read: it comes to a stop.
      const detail = 'it is too large';
      response.writeHead(413, { 'content-type': 'application/problem+json' }).end(JSON.stringify({ detail }));
    },
    { pack: () => Readable.from(endless(), { objectMode: false }) },
  );
  await assert.rejects(ground.build(), { code: 'source_invalid', message: /answered 413: it is too large$/ });
});

test('a context that cannot be packed is no fault of the builder', async (t) => {
  const ground = await setUp(t, (request) => void request.resume(), {
    pack: () =>
      Readable.from(
        (async function* packed() {
          yield Buffer.from('x');
          throw new Error('the file is gone');
        })(),
      ),
  });
  await assert.rejects(ground.build(), {
    code: 'internal',
    message: /could not pack the build context: the file is gone/,
  });
});

test('silence is taken for death, heartbeats are not, and the time in the queue is not the time of the build', async (t) => {
  const clock = createManualClock();
  const began = Promise.withResolvers<ServerResponse>();
  const ground = await setUp(
    t,
    (request, response) => {
      request.resume();
      request.once('end', () => began.resolve(response));
    },
    { clock, timeoutMs: 60_000 },
  );
  const phases = (count: number): Promise<void> => heardPhases(ground.heard, count);
  const built = ground.build();
  const response = await began.promise;
  say(response, { queued: 1 });
  await phases(2);
  clock.advance(silenceMs - 1);
  say(response, { queued: 1 });
  await phases(3);
  say(response, { phase: 'building' });
  await phases(4);
  clock.advance(silenceMs - 1);
  say(response, { phase: 'pushing' });
  await phases(5);
  clock.advance(silenceMs);
  await assert.rejects(built, { code: 'build_timeout', message: /within 60 s/ });

  const queue = await setUp(
    t,
    (request, response) => {
      request.resume();
      request.once('end', () => say(response, { queued: 1 }));
    },
    { clock, timeoutMs: 30_000 },
  );
  const waiting = assert.rejects(queue.build(), { code: 'builder_unavailable', message: /waited 30 s in the queue/ });
  await heardPhases(queue.heard, 2);
  // Its event is taken before the next one is waited for.
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(30_000);
  await waiting;

  const silent = await setUp(t, (request) => void request.resume(), { clock });
  const waits = assert.rejects(silent.build(), { code: 'builder_unavailable', message: /nothing for 45 s/ });
  await heardPhases(silent.heard, 1);
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(silenceMs);
  await waits;
});

async function heardPhases({ phases }: Heard, count: number): Promise<void> {
  while (phases.length < count) await new Promise((resolve) => setImmediate(resolve));
}

test('a caller that leaves closes the connection, with its own reason', async (t) => {
  const closed = Promise.withResolvers<void>();
  const leave = new AbortController();
  const reason = new Error('superseded');
  const ground = await setUp(t, (request, response) => {
    request.resume();
    response.once('close', closed.resolve);
    request.once('end', () => {
      say(response, { phase: 'building' });
      leave.abort(reason);
    });
  });
  await assert.rejects(ground.build({}, leave.signal), reason);
  await closed.promise;
});
