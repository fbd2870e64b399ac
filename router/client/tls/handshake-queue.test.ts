import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandshakeQueue } from './handshake-queue.ts';

interface One {
  readonly client: string;
  readonly name: string;
  gone: boolean;
}

function ground() {
  const turns = new HandshakeQueue<One>();
  const add = (client: string, name: string): One => {
    const one = { client, name, gone: false };
    turns.add(one);
    return one;
  };
  const next = (may: (client: string) => boolean = () => true): string | undefined => turns.next(may)?.name;
  return { turns, add, next };
}

test('clients have their turns, and of each the newest goes first', () => {
  const { turns, add, next } = ground();
  for (let count = 1; count <= 100; count += 1) add('flood', `f${count}`);
  add('a', 'a1');
  add('b', 'b1');
  add('a', 'a2');
  assert.deepEqual([next(), next(), next(), next(), next(), next()], ['f100', 'a2', 'b1', 'f99', 'a1', 'f98']);
  add('b', 'b2');
  assert.deepEqual([next(), next()], ['f97', 'b2']);
  assert.equal(turns.size, 96);
});

test('handshakes that have gone, and clients that may not have a turn now, are passed over', () => {
  const { turns, add, next } = ground();
  const [first, second] = [add('a', 'a1'), add('a', 'a2')];
  add('b', 'b1');
  second.gone = true;
  turns.left();
  assert.equal(
    next((client) => client === 'b'),
    'b1',
  );
  assert.equal(
    next((client) => client === 'b'),
    undefined,
  );
  assert.equal(turns.size, 1);
  assert.equal(next(), 'a1');
  assert.equal(first.gone, false);
  assert.deepEqual([next(), turns.size], [undefined, 0]);
});

test('handshakes that have gone do not fill the queue', () => {
  const { turns, add, next } = ground();
  const all = Array.from({ length: 1_000 }, (_, index) => add(`c${index % 10}`, String(index)));
  for (const one of all.slice(0, 999)) {
    one.gone = true;
    turns.left();
  }
  assert.equal(turns.size, 1);
  assert.equal(next(), '999');
  assert.equal(next(), undefined);
});
