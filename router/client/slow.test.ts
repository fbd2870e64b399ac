/** A thousand clients that are slow in every way: bounded in memory, in nobody's way, and gone at their deadlines. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import {
  asleep,
  call,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  type RouterUnderTest,
} from '../testing/router.ts';

const each = 200;

interface Slow {
  readonly socket: Socket;
  readonly text: () => string;
}

function open(t: TestContext, port: number, first: string, reads = true): Slow {
  const socket = connect({ port, host: '127.0.0.1' });
  let text = '';
  socket.on('error', () => undefined);
  if (reads) socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  else socket.pause();
  if (first !== '') socket.write(first);
  t.after(() => socket.destroy());
  return { socket, text: () => text };
}

function openMany(t: TestContext, port: number, first: string, reads = true): Slow[] {
  return Array.from({ length: each }, () => open(t, port, first, reads));
}

async function metric({ registry }: RouterUnderTest, name: string): Promise<number> {
  return Number(new RegExp(`^holdfast_router_${name} (\\d+)$`, 'm').exec(await registry.metrics())?.[1]);
}

test('a thousand slow heads, slow bodies, idle sockets, held uploads and slow readers cost what their bounds say, and go', async (t) => {
  const clock = createShiftedClock();
  const large = Buffer.alloc(4_000_000);
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url === '/large') res.end(large);
    else req.resume().on('end', () => res.end('ok'));
  });
  const router = await startTestRouter(t, {
    clock,
    routes: [
      // A target whose sockets slow bodies cannot use up: those of other calls are another's.
      routeOf('a', ready(targetOf(app))),
      routeOf('b', ready({ ...targetOf(app), id: 'b-1' })),
      routeOf('c', asleep),
    ],
    config: { stream_buffer_bytes: 16_384, request_timeout_secs: 0 },
  });
  const { port } = router;
  const heads = openMany(t, port, 'GET /a HTTP/1.1\r\nHost: h\r\nX-A: ');
  const bodies = openMany(t, port, 'POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nx');
  const idle = openMany(t, port, '');
  const held = openMany(t, port, `POST /c HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(20_000)}`);
  const readers = openMany(t, port, 'GET /b/large HTTP/1.1\r\nHost: h\r\n\r\n', false);
  while ((await metric(router, 'connections')) < 5 * each) await new Promise(setImmediate);
  await until(() => router.router.held === each, 'the held ones');
  while ((await metric(router, 'buffered_bytes')) < each * 16_384) await new Promise(setImmediate);

  // Others are served meanwhile, as often as they call.
  for (let round = 0; round < 5; round += 1) {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call(port, '/a', { method: 'POST', body: 'x' })),
    );
    assert.ok(answers.every(({ status, body }) => status === 200 && body === 'ok'));
    clock.advance(2_000);
    for (const { socket } of [...heads, ...bodies]) socket.write('x');
  }
  // Each has its part and one read, of heads, bodies and answers.
  const readAhead = await metric(router, 'read_ahead_bytes');
  assert.ok(readAhead >= each * 20_000 && readAhead < each * (16_384 + 65_536 + 2_048), `${readAhead} read ahead`);
  const buffered = await metric(router, 'buffered_bytes');
  assert.ok(buffered < each * (16_384 + 131_072), `${buffered} buffered`);

  // Bytes that trickle in keep no head alive; they do a body, until its stall or its own timeout.
  await until(
    () => {
      clock.advance(5_000);
      return [...heads, ...bodies, ...idle].every(({ socket }) => socket.closed || socket.destroyed);
    },
    'their ends',
    { withinMs: 60_000 },
  );
  assert.ok(heads.every(({ text }) => text().startsWith('HTTP/1.1 408 ')));
  assert.ok(bodies.every(({ text }) => text().startsWith('HTTP/1.1 408 ')));
  assert.ok(idle.every(({ text }) => text() === ''));
  await until(
    () => {
      clock.advance(5_000);
      return held.every(({ text }) => text().startsWith('HTTP/1.1 504 '));
    },
    'the held ones',
    { withinMs: 60_000 },
  );
  while ((await metric(router, 'connections')) > 0) {
    clock.advance(5_000);
    await new Promise(setImmediate);
  }
  // Their ends are behind what they have not read.
  for (const { socket } of readers) socket.resume();
  await until(() => readers.every(({ socket }) => socket.closed), 'the slow readers');
  assert.deepEqual(
    await Promise.all(['read_ahead_bytes', 'buffered_bytes', 'held_calls'].map((name) => metric(router, name))),
    [0, 0, 0],
  );
});
