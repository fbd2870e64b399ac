import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import { startHourly } from './hourly.ts';

test('what is old is deleted each hour, also after a failure, until the end', async () => {
  const clock = createManualClock();
  let runs = 0;
  const hourly = startHourly({
    what: 'old things',
    prune: async () => {
      runs += 1;
      if (runs === 1) throw new Error('Postgres is away');
      return 3;
    },
    clock,
    log: silentLog,
  });
  for (const expected of [1, 2, 3]) {
    clock.advance(3_600_000);
    await turns();
    assert.equal(runs, expected);
  }
  await hourly.close();
  clock.advance(3_600_000);
  await turns();
  assert.equal(runs, 3);
});
