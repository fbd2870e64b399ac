/** Clients that break the rules: refused or closed with a reason, while another client is served as if nothing happened. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import { WebSocket } from 'ws';
import { silentLog } from '../../shared/log.ts';
import { subprotocol } from '../../shared/protocol/methods.ts';
import { createLink } from '../../shared/rpc/link.ts';
import { whenUp } from '../../shared/rpc/testing/when-up.ts';
import type { Peer } from '../../shared/rpc/types.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { startTestServer, testMethods, token } from '../testing/rpc-server.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** Slower than this and the good client would notice; generous, since attackers and server share one core here. */
const promptMs = 2_000;

function memoryBytes(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Another client of the same server, on a link of its own. */
async function goodClient(t: TestContext, url: string): Promise<Peer<typeof testMethods>> {
  const link = createLink({
    url,
    token: token('deployer'),
    local: {},
    handlers: {},
    remote: testMethods,
    log: silentLog,
  });
  t.after(() => link.close());
  return await whenUp(link, AbortSignal.timeout(5_000));
}

async function assertServed(peer: Peer<typeof testMethods>): Promise<void> {
  const startMs = performance.now();
  assert.deepEqual(await peer.call('add', { a: 1, b: 2 }, { deadlineMs: 5_000 }), { sum: 3 });
  const tookMs = performance.now() - startMs;
  assert.ok(tookMs < promptMs, `answered after ${tookMs} ms`);
}

async function openSocket(t: TestContext, url: string, who = 'reader'): Promise<WebSocket> {
  const socket = new WebSocket(`${url}/rpc`, subprotocol, { headers: { authorization: `Bearer ${token(who)}` } });
  socket.on('error', () => {});
  t.after(() => {
    socket.terminate();
  });
  await once(socket, 'open');
  return socket;
}

/** A TCP connection on which the handshake was made by hand, for frames that ws would not send. */
async function rawSocket(t: TestContext, port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  t.after(() => {
    socket.destroy();
  });
  socket.write(
    'GET /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\n` +
      `Sec-WebSocket-Protocol: ${subprotocol}\r\nAuthorization: Bearer ${token('reader')}\r\n\r\n`,
  );
  const [head] = (await once(socket, 'data')) as [Buffer];
  assert.match(head.toString(), /^HTTP\/1\.1 101 /);
  return socket;
}

/** A masked frame with a mask of zeros: the payload as it is. */
function frame(firstByte: number, payload: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(payload.length));
  return Buffer.concat([Buffer.from([firstByte, 0xff]), length, Buffer.alloc(4), payload]);
}

async function refusalOf(
  url: string,
  options: { protocol?: string; authorization?: string; path?: string },
): Promise<string> {
  const socket = new WebSocket(`${url}${options.path ?? '/rpc'}`, options.protocol ?? subprotocol, {
    headers: options.authorization === undefined ? {} : { authorization: options.authorization },
  });
  socket.on('error', () => {});
  const [, response] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  socket.terminate();
  return `${response.statusCode} ${(JSON.parse(body) as { code: string }).code}`;
}

test('no token, an unknown one, another subprotocol and another path are refused with a problem', async (t) => {
  const { url } = await startTestServer(t);
  const authorization = `Bearer ${token('reader')}`;
  assert.equal(await refusalOf(url, {}), '401 unauthenticated');
  assert.equal(await refusalOf(url, { authorization: 'Bearer nope' }), '401 unauthenticated');
  assert.equal(await refusalOf(url, { authorization: 'Basic cmVhZGVy' }), '401 unauthenticated');
  assert.equal(await refusalOf(url, { authorization, protocol: 'other.v1' }), '400 invalid_request');
  assert.equal(await refusalOf(url, { authorization, path: '/other' }), '404 method_not_found');
});

test('a handshake that is not one of WebSocket is refused with a problem', async (t) => {
  const { port } = await startTestServer(t);
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  let answer = '';
  socket.on('data', (chunk) => (answer += String(chunk)));
  socket.write(
    'GET /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
      `Sec-WebSocket-Key: bad\r\nSec-WebSocket-Protocol: ${subprotocol}\r\nAuthorization: Bearer ${token('reader')}\r\n\r\n`,
  );
  await once(socket, 'close');
  assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/);
  assert.match(answer, /"code":"invalid_request"/);
});

test('a standby refuses the handshake with 503 not_leader', async (t) => {
  const { url } = await startTestServer(t, { isLeader: () => false });
  assert.equal(await refusalOf(url, { authorization: `Bearer ${token('reader')}` }), '503 not_leader');
});

test('one token cannot take every connection', async (t) => {
  const { url } = await startTestServer(t, { limits: { maxConnectionsPerToken: 5 } });
  const good = await goodClient(t, url);
  const sockets = await Promise.all(Array.from({ length: 5 }, () => openSocket(t, url)));
  assert.equal(await refusalOf(url, { authorization: `Bearer ${token('reader')}` }), '429 too_many_calls');
  await assertServed(good);
  // A place that is given back can be taken.
  sockets[0]?.close();
  for (;;) {
    const again = new WebSocket(`${url}/rpc`, subprotocol, { headers: { authorization: `Bearer ${token('reader')}` } });
    const opened = await new Promise<boolean>((resolve) => {
      again.once('open', () => resolve(true)).once('error', () => resolve(false));
    });
    again.terminate();
    if (opened) break;
  }
});

test('2,000 handshakes without a token leave nothing behind', async (t) => {
  const { url, port } = await startTestServer(t);
  const good = await goodClient(t, url);
  const before = memoryBytes();
  for (let round = 0; round < 20; round += 1) {
    const sockets = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'));
    for (const socket of sockets) {
      socket.on('error', () => {});
      socket.resume();
      socket.write('GET /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
    }
    await Promise.all([assertServed(good), ...sockets.map((socket) => once(socket, 'close'))]);
  }
  const grownBytes = memoryBytes() - before;
  assert.ok(grownBytes < 16 * 1024 * 1024, `${grownBytes} bytes`);
});

test('silent sockets without a token make room for callers that have one, and never take their places', async (t) => {
  const { url, port, close } = await startTestServer(t, { limits: { maxConnections: 20 } });
  const first = await goodClient(t, url);
  const silent: Socket[] = [];
  for (let i = 0; i < 60; i += 1) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    silent.push(socket);
  }
  // The link of before goes on, and a new one finds a place.
  assert.deepEqual(await first.call('add', { a: 1, b: 2 }), { sum: 3 });
  const second = await goodClient(t, url);
  assert.deepEqual(await second.call('add', { a: 2, b: 2 }), { sum: 4 });
  await close();
});

test('the bodies of a token are bounded together, and other tokens are served meanwhile', async (t) => {
  const limits = { maxBodyBytes: 4_000_000, maxBodyBytesPerToken: 2_000_000 };
  const { port } = await startTestServer(t, { limits });
  const begin = async (): Promise<Socket> => {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    t.after(() => socket.destroy());
    await once(socket, 'connect');
    socket.write(
      `POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token('reader')}\r\n` +
        `Content-Type: application/json\r\nContent-Length: 1000000\r\n\r\n`,
    );
    // Never finished.
    socket.write(Buffer.alloc(900_000, 0x20));
    return socket;
  };
  const answers: string[] = [];
  for (const socket of await Promise.all(Array.from({ length: 8 }, begin)))
    socket.once('data', (data) => answers.push(String(data).slice(0, 12)));
  await eventually(5_000, () => assert.deepEqual(answers, Array<string>(6).fill('HTTP/1.1 429')));
  const other = await fetch(`http://127.0.0.1:${port}/rpc`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token('deployer')}`, 'content-type': 'application/json' },
    body: '{"jsonrpc":"2.0","id":1,"method":"add","params":{"a":1,"b":2}}',
  });
  assert.equal(other.status, 200);
});

test('10,000 calls in flight: the link is closed with a reason, memory stays bounded, others are served', async (t) => {
  const { url, seen } = await startTestServer(t);
  const good = await goodClient(t, url);
  const before = memoryBytes();
  for (let round = 0; round < 5; round += 1) {
    const socket = await openSocket(t, url);
    const closed = once(socket, 'close') as Promise<[number, Buffer]>;
    for (let id = 1; id <= 10_000; id += 1) socket.send(`{"jsonrpc":"2.0","id":${id},"method":"wait","params":{}}`);
    const [[code, reason]] = await Promise.all([closed, assertServed(good)]);
    assert.deepEqual([code, reason.toString()], [1008, 'too_many_calls']);
  }
  await assertServed(good);
  assert.equal(seen.running, 0);
  const grownBytes = memoryBytes() - before;
  assert.ok(grownBytes < 32 * 1024 * 1024, `${grownBytes} bytes`);
});

test('a huge frame is refused from its header, before its bytes have come', async (t) => {
  const { url, port } = await startTestServer(t);
  const good = await goodClient(t, url);
  const before = memoryBytes();
  const socket = await rawSocket(t, port);
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(2n ** 31n);
  socket.write(Buffer.concat([Buffer.from([0x81, 0xff]), length, Buffer.alloc(4)]));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  assert.equal(answer[0], 0x88, 'a close frame');
  assert.equal(answer.readUInt16BE(2), 1009);
  await assertServed(good);
  assert.ok(memoryBytes() - before < 16 * 1024 * 1024);
});

test('bytes that are not WebSocket frames close only their own link', async (t) => {
  const { url, port } = await startTestServer(t, { limits: { heartbeatMs: 50, leaseMs: 300 } });
  const good = await goodClient(t, url);
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.uint8Array({ minLength: 1, maxLength: 2_000 }).map((bytes) => Buffer.from(bytes)),
        fc
          .tuple(fc.nat({ max: 255 }), fc.uint8Array({ maxLength: 500 }))
          .map(([b, bytes]) => frame(b, Buffer.from(bytes))),
      ),
      async (bytes) => {
        const socket = await rawSocket(t, port);
        socket.resume();
        // Where the bytes are only the beginning of a frame, the lease ends it: nothing answers the pings.
        const closed = once(socket, 'close');
        socket.write(bytes);
        await closed;
      },
    ),
    { numRuns: 60 },
  );
  await assertServed(good);
});

test('a POST body that is huge, or comes byte by byte, is refused', async (t) => {
  const limits = { maxFrameBytes: 10_000, headersTimeoutMs: 200, requestTimeoutMs: 400 };
  const { url, port } = await startTestServer(t, { limits });
  const good = await goodClient(t, url);
  const head = `POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${token('reader')}\r\nContent-Type: application/json\r\n`;

  const answerTo = async (bytes: string): Promise<string> => {
    const socket = connect(port, '127.0.0.1');
    t.after(() => {
      socket.destroy();
    });
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (chunk) => (text += String(chunk)));
    socket.write(bytes);
    await once(socket, 'close');
    return text.split('\r\n', 1)[0] ?? '';
  };
  assert.match(await answerTo(`${head}Content-Length: 99999999\r\n\r\n`), / 413 /);
  const chunk = `${(8_000).toString(16)}\r\n${'x'.repeat(8_000)}\r\n`;
  assert.match(await answerTo(`${head}Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}`), / 413 /);
  assert.match(await answerTo(`${head}Content-Length: 100\r\n\r\n{`), / 408 /);
  await assertServed(good);
});

test('half-open sockets are closed: silent, half a header, and silent after the handshake', async (t) => {
  const limits = { headersTimeoutMs: 200, requestTimeoutMs: 400, heartbeatMs: 100, leaseMs: 1_000 };
  const { url, port } = await startTestServer(t, { limits });
  const good = await goodClient(t, url);
  const silent = Array.from({ length: 50 }, () => connect(port, '127.0.0.1'));
  const half = Array.from({ length: 50 }, () => connect(port, '127.0.0.1'));
  for (const socket of [...silent, ...half]) {
    t.after(() => {
      socket.destroy();
    });
    socket.on('error', () => {});
    socket.resume();
  }
  for (const socket of half) socket.write('POST /rpc HTTP/1.1\r\nHost: localhost\r\nAuthor');
  // They may close while the handshake below goes on.
  const closed = [...silent, ...half].map((socket) => once(socket, 'close'));
  const linked = await rawSocket(t, port);
  linked.resume();
  await Promise.all([assertServed(good), ...closed, once(linked, 'close')]);
  await assertServed(good);
});

test('slow readers of streams: the producer waits, memory stays bounded, the lease or the client ends it', async (t) => {
  const { url, port, seen } = await startTestServer(t, { limits: { heartbeatMs: 100, leaseMs: 1_000 } });
  const good = await goodClient(t, url);
  const before = memoryBytes();
  const call = '{"jsonrpc":"2.0","id":1,"method":"count","params":{"to":1000000,"padding":100000}}';

  const linked = await rawSocket(t, port);
  linked.pause();
  linked.write(frame(0x81, Buffer.from(call)));
  const posted = request(`${url}/rpc`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token('reader')}`,
      'content-type': 'application/json',
      accept: 'application/x-ndjson',
    },
  });
  posted.on('error', () => {});
  posted.end(call);
  // Headers have come; the body is never read.
  await once(posted, 'response');
  await assertServed(good);
  assert.equal(seen.running, 2);
  assert.ok(memoryBytes() - before < 32 * 1024 * 1024);

  posted.destroy();
  linked.resume();
  linked.on('data', () => {});
  await once(linked, 'close');
  await assertServed(good);
  assert.equal(seen.running, 0);
});

test('calls without the scope are refused however many, and the link stays', async (t) => {
  const { url } = await startTestServer(t);
  const link = createLink({
    url,
    token: token('router'),
    local: {},
    handlers: {},
    remote: testMethods,
    log: silentLog,
  });
  t.after(() => link.close());
  const peer = await whenUp(link, AbortSignal.timeout(5_000));
  const calls = Array.from({ length: 200 }, () => peer.call('deploy', {}));
  for (const result of await Promise.allSettled(calls)) {
    assert.equal(result.status === 'rejected' && (result.reason as { code: string }).code, 'forbidden');
  }
  assert.equal(peer.closed.aborted, false);
});
