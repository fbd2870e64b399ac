import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../shared/errors.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import { createScheduler } from './scheduler.ts';

function ground(maxRunning: number, maxQueued = 100) {
  const scheduler = createScheduler({ maxRunning, maxQueued });
  const served: string[] = [];
  const places = new Map<string, string[]>();
  const ends: (() => void)[] = [];
  function come(name: string, atOnce = false) {
    const leave = new AbortController();
    const told: string[] = [];
    places.set(name, told);
    const turn = scheduler.turn({
      app: name[0]!,
      signal: leave.signal,
      atOnce,
      onPosition: (position, queued) => void told.push(`${position}/${queued}`),
    });
    turn.then(
      (end) => {
        served.push(name);
        ends.push(end);
      },
      () => undefined,
    );
    return { turn, leave: () => leave.abort(new AppError('cancelled', 'left')) };
  }
  async function endOne(): Promise<void> {
    ends.shift()?.();
    await turns(1);
  }
  return { scheduler, served, places, come, endOne };
}

test('apps take turns, and within an app the first is served first', async () => {
  const g = ground(1);
  for (const name of ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1']) g.come(name);
  await turns(1);
  for (let i = 0; i < 6; i += 1) await g.endOne();
  assert.deepEqual(g.served, ['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
  await g.endOne();
  assert.equal(g.scheduler.running, 0);
  assert.equal(g.scheduler.queued, 0);
});

test('each who waits is told its place when it changes, and only then', async () => {
  const g = ground(1);
  g.come('a1');
  g.come('a2');
  g.come('a3');
  g.come('b1');
  assert.deepEqual(g.places.get('a2'), ['1/1', '1/2', '1/3']);
  assert.deepEqual(g.places.get('a3'), ['2/2', '3/3']); // b comes before the second of a
  assert.deepEqual(g.places.get('b1'), ['2/3']);
  await turns(1);
  await g.endOne();
  assert.deepEqual(g.places.get('a3'), ['2/2', '3/3', '2/2']);
  assert.deepEqual(g.places.get('b1'), ['2/3', '1/2']);
});

test('one who leaves the queue makes room and is not served', async () => {
  const g = ground(1, 2);
  g.come('a1');
  const second = g.come('b1');
  g.come('c1');
  await assert.rejects(g.come('d1').turn, { code: 'build_queue_full' });
  second.leave();
  await assert.rejects(second.turn, { code: 'cancelled' });
  g.come('d2');
  await turns(1);
  await g.endOne();
  await g.endOne();
  assert.deepEqual(g.served, ['a1', 'c1', 'd2']);
});

test('what goes on already is counted and does not wait', async () => {
  const g = ground(1);
  g.come('a1');
  g.come('b1', true);
  g.come('c1');
  await turns(1);
  assert.deepEqual(g.served, ['a1', 'b1']);
  await g.endOne();
  assert.deepEqual(g.served, ['a1', 'b1']);
  await g.endOne();
  assert.deepEqual(g.served, ['a1', 'b1', 'c1']);
});

test('an end that is told twice counts once', async () => {
  const scheduler = createScheduler({ maxRunning: 1, maxQueued: 1 });
  const end = await scheduler.turn({ app: 'a', signal: new AbortController().signal, onPosition: () => undefined });
  end();
  end();
  assert.equal(scheduler.running, 0);
});
