import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Semaphore } from './semaphore.ts';
import { turns } from './testing/until.ts';

const { signal } = new AbortController();

/** Asks for a place; its name is noted when it gets one, and it keeps it. */
function asker(semaphore: Semaphore) {
  const order: string[] = [];
  const places: Disposable[] = [];
  const ask = (name: string, key: string): void => {
    void semaphore.acquire({ signal, key }).then((place) => {
      order.push(name);
      places.push(place);
    });
  };
  const giveBack = async (): Promise<void> => {
    places.shift()?.[Symbol.dispose]();
    await turns(1);
  };
  return { order, ask, giveBack };
}

test('keys take turns, and within a key it is first come, first served', async () => {
  const semaphore = new Semaphore({ places: 1 });
  const { order, ask, giveBack } = asker(semaphore);
  for (const name of ['a1', 'a2', 'a3', 'b1', 'c1']) ask(name, name.slice(0, 1));
  await turns(1);
  for (let count = 0; count < 5; count += 1) await giveBack();
  assert.deepEqual(order, ['a1', 'a2', 'b1', 'c1', 'a3']);
  await semaphore.idle();
  assert.deepEqual([semaphore.held, semaphore.waiting], [0, 0]);
});

test('a key at its own limit holds up no other key', async () => {
  const semaphore = new Semaphore({ places: 2, placesPerKey: 1 });
  const { order, ask, giveBack } = asker(semaphore);
  for (const name of ['a1', 'a2', 'b1']) ask(name, name.slice(0, 1));
  await turns(1);
  assert.deepEqual(order, ['a1', 'b1']);
  await giveBack();
  assert.deepEqual(order, ['a1', 'b1', 'a2']);
});

test('a full queue refuses, and a waiter that leaves makes room', async () => {
  const semaphore = new Semaphore({ places: 1, maxWaiting: 1, full: (count) => new Error(`${count} wait`) });
  const place = await semaphore.acquire({ signal });
  const leaving = new AbortController();
  const left = assert.rejects(semaphore.acquire({ signal: leaving.signal }), /left/);
  await assert.rejects(semaphore.acquire({ signal }), /1 wait/);
  leaving.abort(new Error('left'));
  await left;
  const next = semaphore.acquire({ signal });
  place[Symbol.dispose]();
  place[Symbol.dispose]();
  assert.equal(semaphore.held, 1);
  (await next)[Symbol.dispose]();
  assert.equal(semaphore.held, 0);
});

test('a place that is granted in the moment of the abort is not lost', async () => {
  const semaphore = new Semaphore({ places: 1 });
  const place = await semaphore.acquire({ signal });
  const leaving = new AbortController();
  const next = semaphore.acquire({ signal: leaving.signal });
  place[Symbol.dispose]();
  leaving.abort();
  (await next)[Symbol.dispose]();
  assert.equal(semaphore.held, 0);
});

test('those who wait are told their position when it changes', async () => {
  const semaphore = new Semaphore({ places: 1 });
  const place = await semaphore.acquire({ signal });
  const told: string[] = [];
  const places = ['a', 'b'].map((key) =>
    semaphore.acquire({ signal, key, onPosition: (at, of) => told.push(`${key} ${at}/${of}`) }),
  );
  place[Symbol.dispose]();
  assert.deepEqual(told, ['a 1/1', 'a 1/2', 'b 2/2', 'b 1/1']);
  (await places[0])?.[Symbol.dispose]();
  (await places[1])?.[Symbol.dispose]();
});

test('a place has the lowest free slot, and atOnce goes beyond the bound', async () => {
  const semaphore = new Semaphore({ places: 2 });
  const [first, second] = [semaphore.tryAcquire(), semaphore.tryAcquire()];
  assert.equal(semaphore.tryAcquire(), undefined);
  const third = await semaphore.acquire({ signal, atOnce: true });
  assert.deepEqual([first?.slot, second?.slot, third.slot], [0, 1, 2]);
  third[Symbol.dispose]();
  first?.[Symbol.dispose]();
  assert.equal(await semaphore.run({ signal }, ({ slot }) => Promise.resolve(slot)), 0);
});

test('work that fails gives its place back', async () => {
  const semaphore = new Semaphore({ places: 1 });
  await assert.rejects(
    semaphore.run({ signal }, () => Promise.reject(new Error('failed'))),
    /failed/,
  );
  assert.equal(semaphore.held, 0);
});
