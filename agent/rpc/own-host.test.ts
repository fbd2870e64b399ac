import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { createHostCheck } from './own-host.ts';

const request = (host: string | undefined): IncomingMessage => ({ headers: { host } }) as unknown as IncomingMessage;

test('on a loopback address only names of this machine and named proxies are answered', () => {
  const check = createHostCheck('127.0.0.1', ['rpc.apps.example']);
  for (const host of [
    undefined,
    'localhost:7400',
    '127.0.0.1:7400',
    '127.0.0.2',
    '[::1]:7400',
    'x.localhost',
    'rpc.apps.example',
  ])
    check(request(host));
  for (const host of [
    'evil.example',
    'evil.example:7400',
    'localhost.evil.example',
    '10.0.0.1',
    '',
    '127.0.0.1.evil.example',
    '[::2]',
  ])
    assert.throws(() => check(request(host)), { code: 'misdirected' }, host);
});

test('a server that others reach answers under every name', () => {
  createHostCheck('0.0.0.0', [])(request('agent.holdfast.svc:7400'));
});
