import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import type { ClientConnection } from './connection-deps.ts';
import { Connections } from './connections.ts';

const inATurn = (): Promise<void> => new Promise(setImmediate);

function setUp(max: number) {
  const clock = createManualClock(0);
  const evicted: string[] = [];
  const connections = new Connections({
    max,
    http2: true,
    clock,
    handshakes: undefined,
    onEvicted: () => undefined,
  });
  const open = (name: string, { lingers = false, isHttp2 = false } = {}) => {
    const state = { lastCallMs: clock.nowMs() };
    const connection: ClientConnection = {
      socket: new Socket(),
      isHttp2,
      bufferedBytes: 0,
      lingers,
      isEvictable: (idleSinceMs) => state.lastCallMs <= idleSinceMs,
      evict() {
        evicted.push(name);
        if (!lingers) connections.delete(connection);
      },
      drain: () => undefined,
      checkDeadlines: () => undefined,
    };
    connections.add(connection);
    return { connection, call: () => (state.lastCallMs = clock.nowMs()) };
  };
  return { clock, connections, evicted, open };
}

test('the connection that was looked at least recently goes first, if it is idle', async () => {
  const { clock, connections, evicted, open } = setUp(3);
  const first = open('first');
  open('second');
  open('third');
  assert.equal(connections.hasRoom('plain'), false, 'nothing has been idle for two seconds');
  clock.advance(2_000);
  first.call();
  assert.equal(connections.hasRoom('plain'), true);
  assert.deepEqual(evicted, [], 'what has come by now is read first');
  await inATurn();
  assert.deepEqual(evicted, ['second']);
  open('fourth');
  assert.equal(connections.hasRoom('plain'), true);
  await inATurn();
  assert.deepEqual(evicted, ['second', 'third']);
});

test('a connection with a call in the turn of its eviction stays, and another one goes', async () => {
  const { clock, connections, evicted, open } = setUp(2);
  const first = open('first');
  open('second');
  clock.advance(2_000);
  assert.equal(connections.hasRoom('plain'), true);
  open('newcomer');
  clock.advance(1);
  first.call();
  await inATurn();
  await inATurn();
  assert.deepEqual([evicted, connections.size], [['second'], 2]);
});

test('one connection of HTTP/2 takes the places of nine others, and none is evicted if all of them are not enough', async () => {
  const { clock, connections, evicted, open } = setUp(12);
  open('large', { isHttp2: true });
  for (const name of ['a', 'b', 'c']) open(name);
  assert.equal(connections.places, 12);
  clock.advance(2_000);
  const busy = open('busy');
  busy.call();
  assert.equal(connections.hasRoom('tls'), false);
  await inATurn();
  assert.deepEqual(evicted, []);
  assert.equal(connections.hasRoom('plain'), true);
  await inATurn();
  assert.deepEqual([evicted, connections.places], [['large'], 4]);
});

test('evicted connections that linger are bounded', async () => {
  const { clock, connections, evicted, open } = setUp(40);
  for (let count = 0; count < 40; count += 1) open(`${count}`, { lingers: true });
  clock.advance(2_000);
  let admitted = 0;
  while (connections.hasRoom('plain')) {
    open('new');
    admitted += 1;
    await inATurn();
  }
  assert.equal(admitted, 22);
  assert.deepEqual([evicted.length, connections.size, connections.places], [22, 62, 40]);
});
