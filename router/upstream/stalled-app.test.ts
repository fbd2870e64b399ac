/** An app that reads nothing of its requests. A file of its own, because it fills a hundred megabytes of kernel buffers. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { startRawApp, type RawApp } from '../testing/raw-bytes.ts';
import { until } from '../../shared/wait/testing/until.ts';
import {
  call,
  metric,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  untilMetric,
  type RouterUnderTest,
} from '../testing/router.ts';

const limit = 262_144;
const bufferedBytes = 'holdfast_router_buffered_bytes';
const connections = 'holdfast_router_connections';
/** More than the kernel buffers for one connection. */
const chunk = Buffer.alloc(16_000_000);

interface Ground {
  readonly router: RouterUnderTest;
  readonly app: RawApp;
  readonly appSockets: Set<Socket>;
}

async function startGround(t: TestContext): Promise<Ground> {
  const appSockets = new Set<Socket>();
  const app = await startRawApp(t, {
    onData(socket) {
      socket.pause();
      appSockets.add(socket);
      socket.on('close', () => appSockets.delete(socket));
    },
  });
  const router = await startTestRouter(t, {
    routes: [routeOf('a', ready(...Array.from({ length: 20 }, (_, index) => ({ ...app.target, id: `a-${index}` }))))],
    config: { stream_buffers_max_bytes: limit },
  });
  return { router, app, appSockets };
}

function upload(t: TestContext, { router }: Ground): Socket {
  const socket = connect({ port: router.port, host: '127.0.0.1' });
  socket.on('error', () => undefined);
  t.after(() => socket.destroy());
  socket.write('POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n');
  socket.write(chunk);
  return socket;
}

/** Opens uploads until some are cut off. @returns those that were opened. */
async function fill(t: TestContext, ground: Ground): Promise<Socket[]> {
  const { router } = ground;
  const uploads: Socket[] = [];
  let most = 0;
  await untilMetric(
    router,
    bufferedBytes,
    (bytes) => {
      most = Math.max(most, bytes);
      if (bytes >= limit) return true;
      const waits = uploads.filter(({ writableLength, destroyed }) => !destroyed && writableLength === 0).length;
      // The kernel buffers its part of each one first.
      if (waits === 0 && uploads.length < 150) uploads.push(upload(t, ground));
      return false;
    },
    30_000,
  );
  await untilMetric(router, 'holdfast_router_streams_cut_total', (cut) => cut > 0);
  most = Math.max(most, await metric(router, bufferedBytes));
  assert.ok(most < 1.5 * limit, `${most} bytes waited`);
  return uploads;
}

async function answersOthers(t: TestContext, { router }: Ground): Promise<void> {
  const other = await startUpstream(t, 'b-1', (_, res) => res.end('ok'));
  router.agent.push(routeOf('b', ready(targetOf(other))));
  assert.equal((await call(router.port, '/b')).body, 'ok');
}

test('uploads to an app that reads nothing: what waits is bounded, some are cut off, and all is given back when the app goes', async (t) => {
  const ground = await startGround(t);
  await fill(t, ground);
  await untilMetric(ground.router, bufferedBytes, (bytes) => {
    // The calls that were held until now reach it, too.
    for (const socket of ground.appSockets) socket.destroy();
    return bytes === 0;
  });
  await answersOthers(t, ground);
});

test('clients that reset their uploads are noticed while an app that reads nothing blocks them', async (t) => {
  // Regression: they were noticed only after request_timeout_secs, and their bytes stayed in memory until then.
  const ground = await startGround(t);
  const uploads = await fill(t, ground);
  for (const socket of uploads) socket.resetAndDestroy();
  await untilMetric(ground.router, bufferedBytes, (bytes) => bytes === 0);
  await untilMetric(ground.router, connections, (open) => open === 0);
  await until(() => ground.appSockets.size > 0, 'the app is there all the time');
  await answersOthers(t, ground);
});
