import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { test } from 'node:test';
import { queryObjects } from 'node:v8';
import { Call } from '../call/call.ts';
import { H1Connection } from '../client/h1-connection.ts';
import { Attempt } from '../upstream/attempt.ts';
import { Room } from './room.ts';
import { until } from '../../shared/wait/testing/until.ts';
import { asleep, ready, routeOf, startTestRouter, startUpstream, targetOf } from '../testing/router.ts';

const waves = 20;
const callsAWave = 100;

/** What is still in memory, and held by anything, after a collection. */
function alive(): Record<string, number> {
  return Object.fromEntries(
    [Call, H1Connection, Attempt, Room].map((kind) => [kind.name, queryObjects(kind) as number]),
  );
}

test('clients that give up and come again, wave after wave, leave nothing: no place, no object, no second ensure', async (t) => {
  const app = await startUpstream(t, 'slow', () => undefined); // Takes calls, and answers none.
  const { agent, router, port, registry } = await startTestRouter(t, {
    routes: [routeOf('cold', asleep), routeOf('slow', ready(targetOf(app)))],
  });
  const connections = async (): Promise<number> =>
    Number(/^holdfast_router_connections (\d+)$/m.exec(await registry.metrics())?.[1]);
  const before = alive();
  for (let wave = 0; wave < waves; wave += 1) {
    const sockets: Socket[] = [];
    for (let number = 0; number < callsAWave; number += 1) {
      const socket = connect({ port, host: '127.0.0.1' });
      socket.on('error', () => undefined);
      socket.write(`${number % 2 === 0 ? 'GET /cold' : 'GET /slow'} HTTP/1.1\r\nHost: h\r\n\r\n`);
      sockets.push(socket);
    }
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    await until(() => router.held >= callsAWave / 2, 'the wave');
    // By a reset: a client that ends its half alone may still wait for its answer.
    for (const socket of sockets) socket.resetAndDestroy();
    await until(() => router.held === 0, 'the places');
    while ((await connections()) > 0) await new Promise(setImmediate);
  }
  assert.deepEqual(agent.ensures, [{ app: 'cold', version: 1, suspects: [] }]);
  const target = () => router.viewTargets(new URLSearchParams('app=slow')).targets[0];
  await until(() => target()?.sockets.open === 0, 'the end of the sockets to the app');
  assert.deepEqual([target()?.inFlight, target()?.connecting], [0, 0]);
  // One of each may hang on what was looked at last, whatever came before.
  for (const [kind, count] of Object.entries(alive())) {
    assert.ok(count <= (before[kind] ?? 0) + 2, `${count} of ${kind} are left`);
  }
});
