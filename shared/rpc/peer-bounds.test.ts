import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import type { AppError } from '../errors.ts';
import { handClock, pair, withCode } from './testing/pair.ts';

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
  // The cancelled handlers end during this round trip.
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
  // The kernel buffers some bytes; the limit applies to the rest.
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
