import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { AppError } from '../errors.ts';
import { pair, withCode } from './testing/pair.ts';
import type { Identity } from './types.ts';

test('a call is answered, with defaults of the schema filled in', async (t) => {
  const { client } = await pair(t);
  assert.deepEqual(await client.call('add', { a: 2 }), { sum: 3 });
  assert.deepEqual(await client.call('add', { a: 2, b: 5 }), { sum: 7 });
});

test('both sides call, also inside a call', async (t) => {
  const { client, serverPeer } = await pair(t);
  assert.deepEqual(await serverPeer.call('whoami', {}), { name: 'client' });
  assert.deepEqual(await client.call('callback', {}), { name: 'client' });
});

test('items come in order and all before the result', async (t) => {
  const { client } = await pair(t);
  const got: number[] = [];
  const result = await client.call('count', { to: 500 }, { onItem: ({ n }) => got.push(n) });
  assert.deepEqual(result, { done: true });
  assert.deepEqual(
    got,
    Array.from({ length: 500 }, (_, index) => index + 1),
  );
});

test('an error crosses the link with all that it says', async (t) => {
  const { client } = await pair(t);
  await assert.rejects(client.call('fail', { how: 'app' }), (error: unknown) => {
    assert.ok(error instanceof AppError);
    const { code, message, phase, retryAfterMs, data } = error;
    assert.deepEqual(
      { code, message, phase, retryAfterMs, data },
      { code: 'app_crashed', message: 'exit 1', phase: 'start', retryAfterMs: 5, data: { logs: ['last line'] } },
    );
    return true;
  });
});

test('a fault of a handler says nothing of what it was', async (t) => {
  const { client } = await pair(t);
  await assert.rejects(client.call('fail', { how: 'bug' }), (error: unknown) => {
    assert.ok(error instanceof AppError);
    assert.equal(error.code, 'internal');
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test('a result or an item that does not match its schema rejects the call', async (t) => {
  const { client } = await pair(t);
  await assert.rejects(client.call('fail', { how: 'badResult' }), withCode('internal'));
  await assert.rejects(client.call('fail', { how: 'badItem' }, { onItem: () => {} }), withCode('internal'));
});

test('parameters that do not fit are told with their paths', async (t) => {
  const { client } = await pair(t);
  await assert.rejects(client.call('add', { a: 'x', c: 1 } as never), (error: unknown) => {
    assert.ok(error instanceof AppError);
    assert.equal(error.code, 'invalid_params');
    const issues = error.data?.['issues'] as { path: string }[];
    assert.deepEqual(
      issues.map((issue) => issue.path),
      ['a', ''],
    );
    return true;
  });
});

test('text that cannot be stored is refused with its path', async (t) => {
  const { client } = await pair(t);
  for (const a of ['zero \0', 'half \ud83d']) {
    await assert.rejects(client.call('add', { a, b: 1 } as never), {
      code: 'invalid_params',
      message: /^add: a: contains U\+0000/,
    });
  }
});

test('scopes: deploy includes read, admin has all, router stands alone', async (t) => {
  const as = async (...scopes: Identity['scopes']) => (await pair(t, { identity: { name: 'x', scopes } })).client;
  await assert.rejects((await as('read')).call('deploy', {}), withCode('forbidden'));
  const deployer = await as('deploy');
  await deployer.call('deploy', {});
  await deployer.call('add', { a: 1 });
  await (await as('admin')).call('deploy', {});
  const router = await as('router');
  await assert.rejects(router.call('add', { a: 1 }), withCode('forbidden'));
});

test('a cancelled call rejects at once and its handler is told', async (t) => {
  const { client, seen } = await pair(t);
  const stop = new AbortController();
  const call = client.call('wait', {}, { signal: stop.signal });
  await seen.waiting.promise;
  stop.abort();
  await assert.rejects(call, withCode('cancelled'));
  await client.call('add', { a: 1 });
  assert.deepEqual(seen.aborts, ['cancelled']);
  await assert.rejects(client.call('add', { a: 1 }, { signal: stop.signal }), withCode('cancelled'));
});

test('a deadline ends the call on both sides', async (t) => {
  const { client, seen } = await pair(t);
  await assert.rejects(client.call('wait', {}, { deadlineMs: 20 }), withCode('deadline_exceeded'));
  await client.call('add', { a: 1 });
  assert.equal(seen.aborts.length, 1);
  assert.match(seen.aborts[0] ?? '', /^(deadline_exceeded|cancelled)$/);
  await assert.rejects(client.call('add', { a: 1 }, { deadlineMs: 0 }), withCode('deadline_exceeded'));
});

test('losing the link rejects every pending call and aborts every handler with link_lost', async (t) => {
  const { client, serverPeer, seen, raw } = await pair(t);
  const calls = [client.call('wait', {}), client.call('wait', {})];
  await seen.waiting.promise;
  raw.terminate();
  for (const call of calls) await assert.rejects(call, withCode('link_lost'));
  if (!serverPeer.closed.aborted) await once(serverPeer.closed, 'abort');
  assert.equal((serverPeer.closed.reason as AppError).code, 'link_lost');
  assert.deepEqual([...new Set(seen.aborts)], ['link_lost']);
  await assert.rejects(client.call('add', { a: 1 }), withCode('link_lost'));
});

test('close tells the other side why and ends pending calls', async (t) => {
  const { client, serverPeer, seen } = await pair(t);
  const call = client.call('wait', {});
  await seen.waiting.promise;
  await Promise.all([serverPeer.close(1012, 'not_leader'), assert.rejects(call, withCode('link_lost'))]);
  assert.match((client.closed.reason as AppError).message, /1012 not_leader/);
});

test('notifications reach their handler; unknown ones and failing handlers do no harm', async (t) => {
  const got: unknown[] = [];
  const { client } = await pair(t, {
    notifications: {
      ack: (params, { identity }) => got.push([identity.name, params]),
      broken: () => {
        throw new Error('broken');
      },
    },
  });
  client.notify('ack', { seq: 1 });
  client.notify('broken', {});
  client.notify('constructor', {});
  await client.call('add', { a: 1 });
  assert.deepEqual(got, [['tester', { seq: 1 }]]);
});

test('names of object members are no methods', async (t) => {
  const { client, raw } = await pair(t);
  raw.send('{"jsonrpc":"2.0","id":"c","method":"constructor"}');
  const [data] = (await once(raw, 'message')) as [Buffer];
  const answer = JSON.parse(String(data)) as { id: string; error: { code: number } };
  assert.deepEqual([answer.id, answer.error.code], ['c', -32_601]);
  await client.call('add', { a: 1 });
});
