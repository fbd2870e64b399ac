import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import type { ErrorCode } from '../../shared/error-codes.ts';
import { AppError } from '../../shared/errors.ts';
import { callByHttp } from '../../shared/rpc/http-call.ts';
import { createLink } from '../../shared/rpc/link.ts';
import { whenUp } from '../../shared/rpc/testing/when-up.ts';
import { subprotocol } from '../../shared/protocol/methods.ts';
import { silentLog } from '../../shared/log.ts';
import { startTestServer, testMethods, token } from '../testing/rpc-server.ts';

function withCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

async function post(url: string, body: string, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${url}/rpc`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token('reader')}`, 'content-type': 'application/json', ...headers },
    body,
  });
}

const add = '{"jsonrpc":"2.0","id":7,"method":"add","params":{"a":1,"b":2}}';

test('one call by POST is answered with its JSON-RPC response', async (t) => {
  const { url } = await startTestServer(t);
  const response = await post(url, add);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get('content-type'), 'application/json');
  assert.deepEqual(await response.json(), { jsonrpc: '2.0', id: 7, result: { sum: 3 } });
});

test('a page that reached this machine under a name of its own is not answered, by POST nor by WebSocket', async (t) => {
  const { port } = await startTestServer(t);
  const ask = async (headers: Record<string, string>): Promise<number | undefined> => {
    const sent = request({ host: '127.0.0.1', port, path: '/rpc', headers: { host: 'evil.example', ...headers } });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.resume();
    return response.statusCode;
  };
  assert.equal(await ask({}), 421);
  assert.equal(await ask({ connection: 'upgrade', upgrade: 'websocket', 'sec-websocket-protocol': subprotocol }), 421);
});

test('errors of a POST call have the status of their code', async (t) => {
  const { url } = await startTestServer(t);
  const statuses: [string, number, number][] = [
    ['{"jsonrpc":"2.0","id":1,"method":"nope"}', 404, -32_601],
    ['{"jsonrpc":"2.0","id":1,"method":"add","params":{"a":"x"}}', 400, -32_602],
    ['{"jsonrpc":"2.0","id":1,"method":"add","params":[1,2]}', 400, -32_602],
    ['{"jsonrpc":"2.0","id":1,"method":"deploy","params":{}}', 403, -32_000],
    ['{"jsonrpc":"2.0","id":1,"method":"fail","params":{}}', 502, -32_000],
    ['{"jsonrpc":"2.0","id":1,"method":"wait","params":{},"meta":{"deadlineMs":10}}', 504, -32_000],
    ['not json', 400, -32_700],
    ['null', 400, -32_600],
    [`[${add}]`, 400, -32_600],
    ['{"jsonrpc":"1.0","id":1,"method":"add"}', 400, -32_600],
    ['{"jsonrpc":"2.0","id":{},"method":"add"}', 400, -32_600],
    ['{"jsonrpc":"2.0","id":9007199254740993,"method":"add"}', 400, -32_600],
    ['{"jsonrpc":"2.0","method":"add"}', 400, -32_600],
  ];
  for (const [body, status, number] of statuses) {
    const response = await post(url, body);
    const answer = (await response.json()) as { jsonrpc: string; id: unknown; error: { code: number } };
    assert.equal(response.headers.get('content-type'), 'application/json');
    if ([-32_700, -32_600].includes(number)) assert.equal(answer.id, null);
    assert.deepEqual([response.status, answer.jsonrpc, answer.error.code], [status, '2.0', number], body);
  }
});

test('a request that is not a call is refused with a problem', async (t) => {
  const { url } = await startTestServer(t, { limits: { maxFrameBytes: 1_000 } });
  const problem = async (response: Response): Promise<[number, string | null, unknown]> => [
    response.status,
    response.headers.get('content-type'),
    ((await response.json()) as { code: unknown }).code,
  ];
  const type = 'application/problem+json';
  assert.deepEqual(await problem(await post(url, add, { authorization: 'Bearer wrong' })), [
    401,
    type,
    'unauthenticated',
  ]);
  assert.deepEqual(await problem(await post(url, add, { authorization: token('reader') })), [
    401,
    type,
    'unauthenticated',
  ]);
  assert.deepEqual(await problem(await post(url, add, { 'content-type': 'text/plain' })), [
    415,
    type,
    'invalid_request',
  ]);
  assert.deepEqual(await problem(await post(url, add, { 'content-encoding': 'gzip' })), [415, type, 'invalid_request']);
  assert.deepEqual(await problem(await post(url, `"${'x'.repeat(2_000)}"`)), [413, type, 'frame_too_large']);
  assert.deepEqual(await problem(await fetch(`${url}/rpc`)), [405, type, 'invalid_request']);
  assert.deepEqual(await problem(await fetch(`${url}/other`)), [404, type, 'method_not_found']);
  assert.equal((await fetch(url)).status, 200);
});

test('a POST that asks for NDJSON gets each item as a line, then the response', async (t) => {
  const { url } = await startTestServer(t);
  const count = '{"jsonrpc":"2.0","id":"c","method":"count","params":{"to":3}}';
  const response = await post(url, count, { accept: 'application/x-ndjson' });
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
  const lines = (await response.text()).trimEnd().split('\n');
  assert.deepEqual(
    lines.map((line) => JSON.parse(line) as unknown),
    [
      ...[1, 2, 3].map((n) => ({ jsonrpc: '2.0', method: 'rpc.item', params: { id: 'c', item: { n } } })),
      { jsonrpc: '2.0', id: 'c', result: { done: true } },
    ],
  );
  const plain = await post(url, count);
  assert.deepEqual(await plain.json(), { jsonrpc: '2.0', id: 'c', result: { done: true } });
});

test('a POST client that leaves cancels its call', async (t) => {
  const { url, seen } = await startTestServer(t);
  const stop = new AbortController();
  const call = callByHttp({ url, token: token('reader'), methods: testMethods }, 'wait', {}, { signal: stop.signal });
  await seen.waiting.promise;
  stop.abort();
  await assert.rejects(call, withCode('cancelled'));
  assert.equal(await seen.aborted.promise, 'cancelled');
});

test('callByHttp: results, items, errors of the other side, refusals, deadlines and no listener', async (t) => {
  const { url, close } = await startTestServer(t);
  const endpoint = { url, token: token('reader'), methods: testMethods };
  assert.deepEqual(await callByHttp(endpoint, 'add', { a: 1, b: 1 }), { sum: 2 });
  const got: number[] = [];
  await callByHttp(endpoint, 'count', { to: 1_000 }, { onItem: ({ n }) => got.push(n) });
  assert.equal(got.length, 1_000);
  await assert.rejects(callByHttp(endpoint, 'deploy', {}), withCode('forbidden'));
  await assert.rejects(callByHttp(endpoint, 'add', { a: 'x' } as never), withCode('invalid_params'));
  await assert.rejects(callByHttp({ ...endpoint, token: 'wrong' }, 'add', { a: 1, b: 1 }), withCode('unauthenticated'));
  await assert.rejects(callByHttp(endpoint, 'wait', {}, { deadlineMs: 20 }), withCode('deadline_exceeded'));
  await close();
  await assert.rejects(callByHttp(endpoint, 'add', { a: 1, b: 1 }), withCode('link_lost'));
});

test('while nobody can lead, calls are refused with the reason', async (t) => {
  const whyNotLeader = (): AppError =>
    new AppError('platform_unavailable', 'the Kubernetes API server cannot be reached');
  const { url } = await startTestServer(t, { isLeader: () => false, whyNotLeader });
  const endpoint = { url, token: token('reader'), methods: testMethods };
  await assert.rejects(callByHttp(endpoint, 'add', { a: 1, b: 1 }), (error: AppError) => {
    assert.deepEqual([error.code, error.status], ['platform_unavailable', 503]);
    assert.match(error.message, /the Kubernetes API server cannot be reached/);
    return true;
  });
});

test('a standby refuses POST and links with not_leader, and a link goes up once it leads', async (t) => {
  let leader = false;
  const { url } = await startTestServer(t, { isLeader: () => leader });
  const endpoint = { url, token: token('reader'), methods: testMethods };
  await assert.rejects(callByHttp(endpoint, 'add', { a: 1, b: 1 }), withCode('not_leader'));
  const link = createLink({
    url,
    token: token('reader'),
    local: {},
    handlers: {},
    remote: testMethods,
    log: silentLog,
    pauses: { minMs: 5, maxMs: 10 },
  });
  t.after(() => link.close());
  await assert.rejects(whenUp(link, AbortSignal.timeout(30)), withCode('cancelled'));
  leader = true;
  const peer = await whenUp(link, AbortSignal.timeout(5_000));
  assert.deepEqual(await peer.call('add', { a: 1, b: 1 }), { sum: 2 });
  leader = false;
  await assert.rejects(peer.call('add', { a: 1, b: 1 }), withCode('not_leader'));
});

test('a link reconnects by itself after it was dropped, and reports each change to its owner', async (t) => {
  const { url, server } = await startTestServer(t);
  const changes: string[] = [];
  const again = Promise.withResolvers<undefined>();
  const link = createLink({
    url,
    token: token('reader'),
    local: {},
    handlers: {},
    remote: testMethods,
    log: silentLog,
    pauses: { minMs: 5, maxMs: 10 },
    onUp: () => {
      changes.push('up');
      if (changes.length === 3) again.resolve(undefined);
    },
    onDown: (reason) => changes.push(reason.message),
  });
  t.after(() => link.close());
  const first = await whenUp(link, AbortSignal.timeout(5_000));
  await server.dropLinks('not_leader');
  await again.promise;
  const second = await whenUp(link, AbortSignal.timeout(5_000));
  assert.notEqual(second, first);
  assert.deepEqual(await second.call('add', { a: 1, b: 1 }), { sum: 2 });
  assert.deepEqual(changes, ['up', 'closed by the other side: 1012 not_leader', 'up']);
  await link.close();
  assert.equal(link.peer, undefined);
  await assert.rejects(whenUp(link, AbortSignal.timeout(100)), withCode('cancelled'));
});

test('a link can be closed while it dials, while it pauses and when nothing listens', async (t) => {
  const { url, close } = await startTestServer(t);
  await close();
  const options = { url, token: 'x', local: {}, handlers: {}, remote: testMethods, log: silentLog };
  const dialling = createLink(options);
  await dialling.close();
  const pausing = createLink({ ...options, pauses: { minMs: 60_000, maxMs: 60_000 } });
  const up = whenUp(pausing, AbortSignal.timeout(20));
  await assert.rejects(up, withCode('cancelled'));
  await pausing.close();
});
