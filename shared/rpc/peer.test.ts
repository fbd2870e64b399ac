import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { WebSocket, WebSocketServer } from 'ws';
import { z } from 'zod';
import { AppError, type ErrorCode } from '../errors.ts';
import { silentLog } from '../log.ts';
import type { MethodTable } from '../protocol/methods.ts';
import type { Clock } from './clock.ts';
import type { RpcLimits } from './limits.ts';
import { createPeer } from './peer.ts';
import type { Handlers, Identity, NotificationHandlers, Peer } from './types.ts';

const serverMethods = {
  add: {
    summary: 'Sum of two numbers.',
    scopes: ['read'],
    params: z.strictObject({ a: z.number(), b: z.number().default(1) }),
    result: z.strictObject({ sum: z.number() }),
  },
  deploy: { summary: 'For deploy only.', scopes: ['deploy'], params: z.strictObject({}), result: z.strictObject({}) },
  count: {
    summary: 'Streams numbers.',
    scopes: ['read'],
    params: z.strictObject({ to: z.int() }),
    item: z.strictObject({ n: z.int() }),
    result: z.strictObject({ done: z.boolean() }),
  },
  wait: { summary: 'Ends when cancelled.', scopes: ['read'], params: z.strictObject({}), result: z.strictObject({}) },
  fail: {
    summary: 'Fails as told.',
    scopes: ['read'],
    params: z.strictObject({ how: z.enum(['app', 'bug', 'badResult', 'badItem']) }),
    item: z.strictObject({ n: z.int() }),
    result: z.strictObject({ sum: z.number() }),
  },
  callback: {
    summary: 'Calls back.',
    scopes: ['read'],
    params: z.strictObject({}),
    result: z.strictObject({ name: z.string() }),
  },
  blob: {
    summary: 'A long answer.',
    scopes: ['read'],
    params: z.strictObject({ bytes: z.int() }),
    result: z.strictObject({ text: z.string() }),
  },
} as const satisfies MethodTable;

const clientMethods = {
  whoami: {
    summary: 'Name.',
    scopes: ['router'],
    params: z.strictObject({}),
    result: z.strictObject({ name: z.string() }),
  },
} as const satisfies MethodTable;

type ServerMethods = typeof serverMethods;
type ClientMethods = typeof clientMethods;

/** Aborts and endings that handlers of a test have seen. */
interface Seen {
  readonly aborts: string[];
  readonly waiting: PromiseWithResolvers<undefined>;
}

function serverHandlers(seen: Seen): Handlers<ServerMethods, ClientMethods> {
  return {
    add: async ({ a, b }) => ({ sum: a + b }),
    deploy: async () => ({}),
    count: async ({ to }, { emit }) => {
      for (let n = 1; n <= to; n += 1) await emit({ n });
      return { done: true };
    },
    wait: async (_params, { signal }) => {
      seen.waiting.resolve(undefined);
      await once(signal, 'abort');
      seen.aborts.push((signal.reason as AppError).code);
      throw signal.reason;
    },
    fail: async ({ how }, { emit }) => {
      if (how === 'app') {
        throw new AppError('app_crashed', 'exit 1', { phase: 'start', retryAfterMs: 5, data: { logs: ['last line'] } });
      }
      if (how === 'bug') throw new TypeError('secret-host is undefined');
      if (how === 'badItem') await emit({ n: 'one' } as never);
      return { sum: 'three' } as never;
    },
    callback: async (_params, { peer }) => {
      assert.ok(peer);
      return await peer.call('whoami', {});
    },
    blob: async ({ bytes }) => ({ text: 'x'.repeat(bytes) }),
  };
}

interface Options {
  readonly identity?: Identity;
  readonly serverLimits?: Partial<RpcLimits>;
  readonly clientLimits?: Partial<RpcLimits>;
  readonly clock?: Clock;
  readonly notifications?: NotificationHandlers<ClientMethods>;
}

/** Two peers on one real connection; `raw` is the client's socket. */
async function pair(t: TestContext, options: Options = {}) {
  const { identity = { name: 'tester', scopes: ['read'] }, clock } = options;
  const seen: Seen = { aborts: [], waiting: Promise.withResolvers() };
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  const accepted = Promise.withResolvers<Peer<ClientMethods>>();
  server.on('connection', (socket) => {
    accepted.resolve(
      createPeer({
        socket,
        local: serverMethods,
        handlers: serverHandlers(seen),
        remote: clientMethods,
        identity,
        log: silentLog,
        limits: options.serverLimits ?? {},
        ...(options.notifications && { notifications: options.notifications }),
        ...(clock && { clock }),
      }),
    );
  });
  await once(server, 'listening');
  const raw = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const client = createPeer<ClientMethods, ServerMethods>({
    socket: raw,
    local: clientMethods,
    handlers: { whoami: async () => ({ name: 'client' }) },
    remote: serverMethods,
    identity: { name: 'server', scopes: ['admin'] },
    log: silentLog,
    limits: options.clientLimits ?? {},
  });
  await once(raw, 'open');
  const serverPeer = await accepted.promise;
  t.after(async () => {
    await Promise.all([client.close(), serverPeer.close()]);
    await new Promise((resolve) => server.close(resolve));
  });
  return { client, serverPeer, raw, seen };
}

function withCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof AppError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

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

test('a call over the limit in flight is refused, the others go on', async (t) => {
  const { client, serverPeer, seen } = await pair(t, { serverLimits: { maxCallsInFlight: 2 } });
  const stop = new AbortController();
  const waiting = [0, 1].map(() =>
    assert.rejects(client.call('wait', {}, { signal: stop.signal }), withCode('cancelled')),
  );
  await seen.waiting.promise;
  await assert.rejects(client.call('add', { a: 1 }), withCode('too_many_calls'));
  stop.abort();
  await Promise.all(waiting);
  // One round trip, in which the cancelled handlers end.
  await serverPeer.call('whoami', {});
  assert.deepEqual(await client.call('add', { a: 1 }), { sum: 2 });
});

test('a flood over the limit in flight closes the link with a reason', async (t) => {
  const { client, raw } = await pair(t, { serverLimits: { maxCallsInFlight: 4 } });
  const calls = Array.from({ length: 200 }, () => client.call('wait', {}));
  const [settled, [code, reason]] = await Promise.all([
    Promise.allSettled(calls),
    once(raw, 'close') as Promise<[number, Buffer]>,
  ]);
  assert.equal(code, 1008);
  assert.equal(String(reason), 'too_many_calls');
  assert.ok(settled.every((result) => result.status === 'rejected'));
});

test('more own calls than may wait are rejected here', async (t) => {
  const { client } = await pair(t, { clientLimits: { maxPendingCalls: 1 } });
  const first = client.call('add', { a: 1 });
  await assert.rejects(client.call('add', { a: 1 }), withCode('too_many_calls'));
  await first;
});

test('frames over the limit: an answer becomes an error, a call is not sent, a hostile one closes the link', async (t) => {
  const limits = { maxFrameBytes: 10_000 };
  const { client, raw } = await pair(t, { serverLimits: limits, clientLimits: limits });
  await assert.rejects(client.call('blob', { bytes: 20_000 }), withCode('frame_too_large'));
  await assert.rejects(client.call('add', { a: 'x'.repeat(20_000) } as never), withCode('frame_too_large'));
  assert.deepEqual(await client.call('add', { a: 1 }), { sum: 2 });
  raw.send('x'.repeat(20_000));
  const [code] = (await once(raw, 'close')) as [number];
  assert.equal(code, 1009);
});

test('a binary frame closes the link with 1003', async (t) => {
  const { raw } = await pair(t);
  raw.send(Buffer.from([1, 2, 3]));
  const [code] = (await once(raw, 'close')) as [number];
  assert.equal(code, 1003);
});

test('what is no message is answered with id null, and closes the link at the tenth', async (t) => {
  const { raw } = await pair(t);
  const answers: { id: unknown; error: { code: number } }[] = [];
  raw.on('message', (data: Buffer) => answers.push(JSON.parse(data.toString())));
  const bad = ['nonsense', '[]', '1', '{"jsonrpc":"1.0","id":1,"method":"add"}', '{"jsonrpc":"2.0"}'];
  for (const frame of [...bad, ...bad]) raw.send(frame);
  const [code, reason] = (await once(raw, 'close')) as [number, Buffer];
  assert.equal(code, 1008);
  assert.equal(String(reason), 'invalid_request');
  assert.equal(answers.length, 10);
  assert.deepEqual(
    answers.slice(0, 5).map(({ id, error }) => [id, error.code]),
    [
      [null, -32_700],
      [null, -32_600],
      [null, -32_600],
      [null, -32_600],
      [null, -32_600],
    ],
  );
});

test('a reader that does not read closes the link with send_buffer_full', async (t) => {
  const { serverPeer, raw } = await pair(t, { serverLimits: { maxSendBufferBytes: 100_000 } });
  raw.pause();
  const payload = { text: 'x'.repeat(50_000) };
  // The kernel takes some; the bound is on what it does not take.
  for (let sent = 0; sent < 1_000 && !serverPeer.closed.aborted; sent += 1) serverPeer.notify('noise', payload);
  assert.equal((serverPeer.closed.reason as AppError).code, 'send_buffer_full');
});

test('emit waits for a slow reader, so that a producer is slowed', async (t) => {
  const { client, raw } = await pair(t, { serverLimits: { emitHighWaterBytes: 10_000, maxSendBufferBytes: 50_000 } });
  let got = 0;
  const call = client.call('count', { to: 20_000 }, { onItem: () => (got += 1) });
  raw.pause();
  await new Promise((resolve) => setImmediate(resolve));
  raw.resume();
  await call;
  assert.equal(got, 20_000);
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

/** Time that only moves when told. */
function handClock(): Clock & { advance(ms: number): void } {
  let nowMs = 0;
  const timers = new Map<object, { atMs: number; task: () => void }>();
  return {
    nowMs: () => nowMs,
    after(delayMs, task) {
      const key = {};
      timers.set(key, { atMs: nowMs + delayMs, task });
      return () => timers.delete(key);
    },
    advance(ms) {
      nowMs += ms;
      for (const [key, timer] of timers) {
        if (timer.atMs > nowMs) continue;
        timers.delete(key);
        timer.task();
      }
    },
  };
}

test('a link on which nothing is heard for the lease is lost', async (t) => {
  const clock = handClock();
  const { serverPeer, raw } = await pair(t, { clock, serverLimits: { heartbeatMs: 2_000, leaseMs: 10_000 } });
  raw.pause();
  for (let tick = 0; tick < 5; tick += 1) clock.advance(2_000);
  assert.equal(serverPeer.closed.aborted, false);
  clock.advance(2_000);
  assert.match((serverPeer.closed.reason as AppError).message, /nothing heard for 12000 ms/);
});

test('a process that stood still does not take its own sleep for the silence of the other side', async (t) => {
  const clock = handClock();
  const { serverPeer, client } = await pair(t, { clock, serverLimits: { heartbeatMs: 2_000, leaseMs: 10_000 } });
  clock.advance(60_000);
  assert.equal(serverPeer.closed.aborted, false);
  await client.call('add', { a: 1 });
  assert.equal(serverPeer.lastHeardMs, 60_000);
  clock.advance(2_000);
  assert.equal(serverPeer.closed.aborted, false);
});
