import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AppError } from '../../../shared/errors.ts';
import { silentLog } from '../../../shared/log.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import type { KubeApi } from '../../kube/api.ts';
import { createLogSlots, followLogs } from './logs.ts';
import { testPod } from '../../testing/kubernetes-run.ts';

test('the platform reads the logs of 64 pods at a time, and of others when readers leave', async () => {
  let open = 0;
  const log: KubeApi['log'] = async function* (_pod, _query, { signal }) {
    open += 1;
    try {
      yield 'a line';
      await new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new AppError('cancelled', 'cancelled')));
      });
    } finally {
      open -= 1;
    }
  };
  const deps = {
    api: { log },
    namespace: 'apps',
    picture: {
      podsOf: () => ['a', 'b', 'c'].map((uid) => testPod({ uid, name: uid, running: true })),
      onChange: () => () => undefined,
      synced: () => Promise.resolve(),
    },
    logSlots: createLogSlots(),
    log: silentLog,
    clock: systemClock,
  };
  const stop = new AbortController();
  const follow = () => followLogs(deps, { app: 'hello', tail: 10, follow: true }, stop.signal);
  const readers = Array.from({ length: 22 }, follow);
  for (const reader of readers) assert.equal((await reader.next()).done, false);
  assert.equal(open, 64);
  await assert.rejects(follow().next(), { code: 'too_many_calls' });

  await readers[0]?.return(undefined);
  assert.equal(open, 61);
  const next = follow();
  assert.equal((await next.next()).done, false);
  assert.equal(open, 64);

  stop.abort();
  await Promise.all([...readers, next].map((reader) => reader.return(undefined)));
  assert.equal(open, 0);
});
