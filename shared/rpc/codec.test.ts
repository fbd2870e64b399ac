import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../errors.ts';
import { decode, encodeError, encodeRequest, encodeResult } from './codec.ts';
import { endpointUrl } from './endpoint-url.ts';

function kindOf(message: unknown): string {
  return decode(JSON.stringify(message)).kind;
}

test('a frame is what JSON-RPC 2.0 says it is', () => {
  const version = { jsonrpc: '2.0' };
  assert.equal(kindOf({ ...version, id: 1, method: 'm' }), 'request');
  assert.equal(kindOf({ ...version, id: 'x', method: 'm', params: [1] }), 'request');
  assert.equal(kindOf({ ...version, method: 'm' }), 'notification');
  assert.equal(kindOf({ ...version, id: 1, result: null }), 'result');
  assert.equal(kindOf({ ...version, id: 1, error: { code: 1, message: 'm' } }), 'error');
  assert.equal(kindOf({ ...version, id: null, error: { code: 1, message: 'm' } }), 'error');
  assert.equal(kindOf({ ...version, method: 'rpc.item', params: { id: 1, item: 2 } }), 'item');
  assert.equal(kindOf({ ...version, method: 'rpc.cancel', params: { id: 1 } }), 'cancel');
  assert.equal(kindOf({ ...version, id: 1, method: 'm', traceparent: 'unknown members are fine' }), 'request');
});

test('what breaks JSON-RPC 2.0 is malformed', () => {
  const version = { jsonrpc: '2.0' };
  const broken = [
    [],
    null,
    {},
    { id: 1, method: 'm' },
    { jsonrpc: 2, id: 1, method: 'm' },
    { ...version, id: null, method: 'm' },
    { ...version, id: {}, method: 'm' },
    { ...version, id: 2 ** 53, method: 'm' },
    { ...version, id: -(2 ** 53), method: 'm' },
    { ...version, id: 1, method: 1 },
    { ...version, id: 1, method: 'm', params: 'text' },
    { ...version, id: 1, method: 'm', meta: { deadlineMs: -1 } },
    { ...version, id: 1 },
    { ...version, id: 1, result: 1, error: { code: 1, message: 'm' } },
    { ...version, id: 1, error: 'text' },
    { ...version, id: null, result: 1 },
    { ...version, method: 'rpc.cancel', params: {} },
  ];
  for (const message of broken) assert.equal(kindOf(message), 'malformed', JSON.stringify(message));
});

test('a broken answer names its call, so that the call need not wait for its deadline', () => {
  const message = decode('{"jsonrpc":"2.0","id":7,"result":1,"error":{}}');
  assert.ok(message.kind === 'malformed');
  assert.equal(message.brokenId, 7);
});

test('the deadline goes into meta, beside untouched params', () => {
  assert.equal(
    encodeRequest(1, 'm', { a: 1 }, 50),
    '{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1},"meta":{"deadlineMs":50}}',
  );
  assert.equal(encodeResult(1, undefined), '{"jsonrpc":"2.0","id":1,"result":{}}');
});

test('errors of a peer that knows only JSON-RPC are told by their number', () => {
  const codeOf = (number: number): string => {
    const message = decode(JSON.stringify({ jsonrpc: '2.0', id: 1, error: { code: number, message: 'm' } }));
    assert.ok(message.kind === 'error');
    return message.error.code;
  };
  assert.deepEqual([-32_601, -32_602, -32_603, -32_099, 1].map(codeOf), [
    'method_not_found',
    'invalid_params',
    'internal',
    'internal',
    'internal',
  ]);
});

test('an error says number, code, owner and whether to try again', () => {
  const frame = encodeError(3, new AppError('hold_full', 'full', { retryAfterMs: 100 }));
  assert.deepEqual(JSON.parse(frame), {
    jsonrpc: '2.0',
    id: 3,
    error: {
      code: -32_000,
      message: 'full',
      data: { code: 'hold_full', retryable: true, owner: 'platform', retryAfterMs: 100 },
    },
  });
});

test('the endpoint is at /rpc of the agent URL', () => {
  assert.equal(endpointUrl('http://127.0.0.1:7400', 'ws'), 'ws://127.0.0.1:7400/rpc');
  assert.equal(endpointUrl('https://agent.example/holdfast/', 'ws'), 'wss://agent.example/holdfast/rpc');
  assert.equal(endpointUrl('wss://agent.example/rpc', 'http'), 'https://agent.example/rpc');
  for (const bad of ['agent:7400', 'ftp://agent.example', 'http://user@agent.example', '']) {
    assert.throws(() => endpointUrl(bad, 'ws'), AppError, bad);
  }
});
