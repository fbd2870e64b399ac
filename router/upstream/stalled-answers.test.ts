import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { createShiftedClock } from '../../shared/wait/testing/manual-clock.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { call, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';

test('clients that do not read their answers do not keep all connections to an app from the calls that wait', async (t) => {
  const chunk = Buffer.alloc(262_144, 'x');
  let large = 0;
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url === '/small') return void res.end('ok');
    large += 1;
    res.on('error', () => undefined);
    const more = (): void => {
      while (!res.destroyed && res.write(chunk));
    };
    res.on('drain', more);
    more();
  });
  const clock = createShiftedClock();
  const { port, router } = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', ready(targetOf(app)))],
    config: { max_upstream_sockets: 8 },
  });
  const readers: Socket[] = [];
  let gone = 0;
  for (let n = 1; n <= 8; n += 1) {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('error', () => undefined);
    socket.on('close', () => (gone += 1));
    t.after(() => socket.destroy());
    socket.write('GET /a/large HTTP/1.1\r\nHost: h\r\n\r\n');
    socket.pause();
    readers.push(socket);
    await until(() => large === n, 'the next large answer');
  }
  const waiting = call(port, '/a/small');
  await until(() => router.held === 1, 'a call that waits for a connection');
  let answered = false;
  void waiting.then(() => (answered = true));
  // They have some time, but not any time.
  clock.advance(1_500);
  assert.equal(answered, false);
  assert.equal(gone, 0);
  await until(() => {
    clock.advance(200);
    return answered;
  }, 'its answer');
  assert.equal((await waiting).body, 'ok');
});
