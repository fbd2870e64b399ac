import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { silentLog } from '../../shared/log.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import { isDone } from '../testing/versions.ts';
import type { Progress } from './app-store.ts';
import { createOutbox } from './outbox.ts';

const away = new AppError('store_unavailable', 'Postgres is away');

function ground() {
  const clock = createManualClock();
  const written: string[] = [];
  const fenced: AppError[] = [];
  const store = {
    error: undefined as unknown,
    async record(_epoch: number, progress: Progress) {
      await turns(1);
      if (store.error !== undefined) throw store.error;
      written.push(progress.app);
    },
  };
  const outbox = createOutbox({
    store,
    epoch: 1,
    clock,
    log: silentLog,
    onFenced: (error) => void fenced.push(error),
    maxItems: 10,
  });
  const add = (...apps: string[]): void => apps.forEach((app) => outbox.add({ app, events: [] }));
  return { clock, written, fenced, store, outbox, add };
}

test('records are written in order, and those that failed are tried again when Postgres is back', async () => {
  const g = ground();
  g.store.error = away;
  g.add('a', 'b');
  await turns();
  g.store.error = undefined;
  g.add('c');
  g.clock.advance(500);
  await g.outbox.flushed(new AbortController().signal);
  assert.deepEqual(g.written, ['a', 'b', 'c']);
});

test('when the agent stops, what waits is written first', async () => {
  const g = ground();
  g.add('a', 'b', 'c');
  await g.outbox.close();
  assert.deepEqual(g.written, ['a', 'b', 'c']);
});

test('when the agent stops while Postgres is away, close does not wait, and flushed rejects', async () => {
  const g = ground();
  g.store.error = away;
  g.add('a', 'b');
  await turns();
  const flushed = assert.rejects(g.outbox.flushed(new AbortController().signal), { code: 'store_unavailable' });
  await g.outbox.close();
  await flushed;
  assert.deepEqual(g.written, []);
});

test('when another agent leads, nothing more is written and onFenced is called', async () => {
  const g = ground();
  g.store.error = new AppError('fenced', 'another agent leads');
  g.add('a', 'b');
  await turns();
  assert.equal(g.fenced.length, 1);
  assert.equal(g.outbox.size, 0);
});

test('a record that Postgres refuses does not block those behind it', async () => {
  const g = ground();
  g.store.error = new Error('violates a constraint');
  g.add('a');
  await turns();
  g.store.error = undefined;
  g.add('b');
  await g.outbox.flushed(new AbortController().signal);
  assert.deepEqual(g.written, ['b']);
});

test('while Postgres is away the number of records is bounded', async () => {
  const g = ground();
  g.store.error = away;
  for (let i = 0; i < 100; i += 1) g.add(`a${i}`);
  assert.equal(g.outbox.size, 10);
  const given = new AbortController();
  const flushed = g.outbox.flushed(given.signal);
  assert.equal(await isDone(flushed), false);
  given.abort(new AppError('cancelled', 'given up'));
  await assert.rejects(flushed, { code: 'cancelled' });
  await g.outbox.close();
});
