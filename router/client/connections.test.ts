import assert from 'node:assert/strict';
import { connect as connectHttp2 } from 'node:http2';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { certificates } from '../../test/support/certificates.ts';
import {
  asleep,
  metric,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  TestClock,
  until,
  untilMetric,
  type RouterUnderTest,
} from '../test-kit.ts';
import { tlsConfig } from '../tls/config.ts';
import { placesWithin } from './connections.ts';

interface Ground extends RouterUnderTest {
  readonly clock: TestClock;
}

async function startGround(t: TestContext, config: object): Promise<Ground> {
  const clock = new TestClock();
  const app = await startUpstream(t, 'a-1', (req, res) => {
    if (req.url === '/quiet') return;
    res.end('ok');
  });
  const routes = [routeOf('a', ready(targetOf(app))), routeOf('cold', asleep)];
  return { clock, ...(await startTestRouter(t, { clock, routes, config })) };
}

interface Client {
  readonly text: () => string;
  readonly closed: () => boolean;
  readonly say: (text: string) => void;
}

function watch(t: TestContext, socket: Socket): Client {
  let text = '';
  let closed = false;
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  socket.on('close', () => (closed = true));
  t.after(() => socket.destroy());
  return { text: () => text, closed: () => closed, say: (said) => void socket.write(said) };
}

const open = (t: TestContext, { port }: Ground): Client => watch(t, connect({ port, host: '127.0.0.1' }));

const openTls = (t: TestContext, { router }: Ground): Client =>
  watch(t, connectTls({ port: router.tlsPort ?? 0, host: '127.0.0.1', rejectUnauthorized: false }));

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`;
const answered = (client: Client): boolean => client.text().endsWith('ok');

async function answers(client: Client): Promise<void> {
  client.say(get('/a'));
  await until(() => answered(client) || client.closed(), 'an answer');
  assert.ok(answered(client));
}

async function tlsFiles(t: TestContext): Promise<{ tls: ReturnType<typeof tlsConfig.parse> }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-connections-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await certificates(folder, 'router.example');
  const certificate = [{ cert_file: join(folder, 'tls.crt'), key_file: join(folder, 'tls.key') }];
  return { tls: tlsConfig.parse({ listen_port: 0, certificate }) };
}

test('a connection beyond the bound is closed as it comes, while the others are new or have calls', async (t) => {
  const ground = await startGround(t, { max_connections: 3 });
  const held = open(t, ground);
  held.say(get('/cold'));
  const inFlight = open(t, ground);
  inFlight.say(get('/a/quiet'));
  await untilMetric(ground, 'holdfast_router_held_calls', (calls) => calls === 1);
  ground.clock.advance(10_000);
  const fresh = open(t, ground);
  await untilMetric(ground, 'holdfast_router_connections', (connections) => connections === 3);
  const one = open(t, ground);
  await until(() => one.closed(), 'its end');
  assert.deepEqual(
    [held, inFlight, fresh].map(({ closed }) => closed()),
    [false, false, false],
  );
  assert.equal(await metric(ground, 'holdfast_router_connections_gave_way_total'), 0);
});

test('those make room that have had no call for two seconds: silent ones, idle ones and halves of heads', async (t) => {
  const ground = await startGround(t, { max_connections: 3 });
  const silent = open(t, ground);
  const idle = open(t, ground);
  const slow = open(t, ground);
  slow.say('GET /a HTTP/1.1\r\nHost: ');
  await answers(idle);
  await untilMetric(ground, 'holdfast_router_connections', (connections) => connections === 3);
  await untilMetric(ground, 'holdfast_router_read_ahead_bytes', (bytes) => bytes > 0);
  ground.clock.advance(2_001);
  for (let count = 1; count <= 3; count += 1) {
    await answers(open(t, ground));
    await until(() => [silent, idle, slow].filter(({ closed }) => closed()).length === count, `${count} ends`);
  }
  // Those are not idle for long.
  const one = open(t, ground);
  await until(() => one.closed(), 'its end');
  assert.equal(await metric(ground, 'holdfast_router_connections_gave_way_total'), 3);
});

test('halves of heads on all connections do not keep others out', async (t) => {
  const ground = await startGround(t, { max_connections: 500 });
  const slow = Array.from({ length: 500 }, () => open(t, ground));
  for (const client of slow) client.say('GET /a');
  await untilMetric(ground, 'holdfast_router_connections', (connections) => connections === 500);
  ground.clock.advance(2_001);
  const others = Array.from({ length: 100 }, () => open(t, ground));
  await Promise.all(others.map((client) => answers(client)));
});

test('one by TLS takes the places of 14', async (t) => {
  const ground = await startGround(t, { max_connections: 29, ...(await tlsFiles(t)) });
  const secure = [openTls(t, ground), openTls(t, ground)];
  for (const client of secure) await answers(client);
  assert.equal(await metric(ground, 'holdfast_router_connection_places'), 28);
  const plain = open(t, ground);
  await answers(plain);
  const more = [openTls(t, ground), open(t, ground)];
  await until(() => more.every(({ closed }) => closed()), 'their ends');
  ground.clock.advance(2_001);
  // 14 places by one that is secure.
  for (let count = 0; count < 14; count += 1) await answers(open(t, ground));
  assert.equal(await metric(ground, 'holdfast_router_connections_gave_way_total'), 1);
  ground.clock.advance(2_001);
  await answers(openTls(t, ground));
  await untilMetric(ground, 'holdfast_router_connection_places', (places) => places <= 29);
});

test('one by TLS always fits', async (t) => {
  const ground = await startGround(t, { max_connections: 2, ...(await tlsFiles(t)) });
  await answers(openTls(t, ground));
});

test('connections of TLS that say nothing make room', async (t) => {
  const ground = await startGround(t, { max_connections: 28, ...(await tlsFiles(t)) });
  const silent = Array.from({ length: 2 }, () =>
    watch(t, connect({ port: ground.router.tlsPort ?? 0, host: '127.0.0.1' })),
  );
  await untilMetric(ground, 'holdfast_router_connection_places', (places) => places === 28);
  ground.clock.advance(2_001);
  await answers(openTls(t, ground));
  assert.deepEqual(
    silent.map(({ closed }) => closed()),
    [true, false],
  );
});

test('idle connections of HTTP/2 make room, and say that no call was looked at', async (t) => {
  const ground = await startGround(t, { max_connections: 9 });
  const session = connectHttp2(`http://127.0.0.1:${ground.port}`);
  t.after(() => session.destroy());
  const goodbyes: number[] = [];
  session.on('goaway', (code, last) => goodbyes.push(code, last));
  session.on('error', () => undefined);
  const stream = session.request({ ':path': '/a' });
  stream.resume();
  await new Promise((resolve) => stream.once('close', resolve));
  // Eight places besides its own.
  assert.equal(await metric(ground, 'holdfast_router_connection_places'), 9);
  ground.clock.advance(2_001);
  await answers(open(t, ground));
  await until(() => session.closed || session.destroyed, 'its end');
  assert.deepEqual(goodbyes, [0, 1]);
});

test('places by memory: those of 256 MiB, and more where a container has more', () => {
  const gib = 2 ** 30;
  assert.equal(placesWithin(gib / 4, 1), 10_500);
  assert.equal(placesWithin(gib / 8, 1), 10_500);
  assert.equal(placesWithin(gib, 1), 48_900);
  assert.equal(placesWithin(gib, 2), 36_100);
  assert.equal(placesWithin(gib, 8), 10_500);
  // What Node says where there is no limit, by the version of cgroups.
  assert.equal(placesWithin(0, 1), 10_500);
  assert.equal(placesWithin(2 ** 64, 1), 10_500);
});
