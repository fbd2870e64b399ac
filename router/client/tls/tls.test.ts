import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { connect as connectTcp } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { certificates } from '../../../test/support/certificates.ts';
import { createShiftedClock } from '../../../shared/wait/testing/manual-clock.ts';
import { until } from '../../../shared/wait/testing/until.ts';
import {
  asleep,
  ready,
  routeOf,
  startTestRouter,
  startUpstream,
  targetOf,
  type RouterUnderTest,
} from '../../testing/router.ts';
import { tlsConfig, type TlsConfig } from './config.ts';

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-tls-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A mounted Secret, as the kubelet swaps it: the files lead by way of a link to a folder that is never changed. */
async function mount(folder: string, version: string, names: readonly string[]): Promise<void> {
  const data = join(folder, `..${version}`);
  await certificates(data, names);
  await symlink(`..${version}`, join(folder, '..data_tmp'));
  await rename(join(folder, '..data_tmp'), join(folder, '..data'));
  for (const name of ['tls.crt', 'tls.key']) {
    await symlink(join('..data', name), join(folder, name)).catch(() => undefined);
  }
}

interface Tls extends RouterUnderTest {
  readonly tlsPort: number;
  readonly clock: ReturnType<typeof createShiftedClock>;
}

async function startTls(t: TestContext, tls: Partial<TlsConfig>, more: object = {}): Promise<Tls> {
  const app = await startUpstream(t, 'a-1', (req, res) => void req.resume().on('end', () => res.end('ok')));
  const clock = createShiftedClock();
  const router = await startTestRouter(t, {
    clock,
    routes: [routeOf('a', ready(targetOf(app))), routeOf('b', asleep)],
    config: { tls: tlsConfig.parse({ listen_port: 0, ...tls }), ...more },
  });
  return { ...router, clock, tlsPort: router.router.tlsPort ?? 0 };
}

function connectTls(t: TestContext, port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
    t.after(() => socket.destroy());
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      socket.on('error', () => undefined);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** The names of the certificate that is shown to who asks for `servername`. */
async function shown(t: TestContext, port: number, servername?: string): Promise<string | undefined> {
  const socket = await connectTls(t, port, servername === undefined ? {} : { servername });
  const names = socket.getPeerCertificate().subjectaltname;
  socket.destroy();
  return names;
}

async function metric({ registry }: RouterUnderTest, name: string): Promise<string | undefined> {
  return new RegExp(`^${name.replace(/[{}"]/g, '\\$&')} (\\S+)$`, 'm').exec(await registry.metrics())?.[1];
}

/** Moves the clock on until a metric has its value. */
async function untilMetric(router: Tls, name: string, value: string, stepMs = 10_000): Promise<void> {
  const endMs = performance.now() + 10_000;
  while ((await metric(router, name)) !== value) {
    if (performance.now() > endMs) throw new Error(`${name} never became ${value}`);
    router.clock.advance(stepMs);
    await new Promise(setImmediate);
  }
}

function get(path: string): string {
  return `GET ${path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`;
}

async function answerOf(socket: TLSSocket, request: string): Promise<string> {
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.write(request);
  await new Promise((resolve) => socket.once('close', resolve));
  return text;
}

test('the certificate is that of the host, else of its domain by one label, else the first', async (t) => {
  const folder = await folderOf(t);
  for (const [name, names] of [
    ['a', ['a.example', 'two.example']],
    ['default', ['default.example']],
    ['wild', ['*.apps.example']],
    ['exact', ['one.apps.example']],
  ] as const) {
    await mkdir(join(folder, name));
    await mount(join(folder, name), '1', names);
  }
  const { tlsPort } = await startTls(t, { cert_folder: folder });
  for (const [host, names] of [
    ['A.example', 'DNS:a.example, DNS:two.example'],
    ['two.example', 'DNS:a.example, DNS:two.example'],
    ['one.apps.example', 'DNS:one.apps.example'],
    ['two.apps.example', 'DNS:*.apps.example'],
    ['deep.two.apps.example', 'DNS:default.example'],
    ['apps.example', 'DNS:default.example'],
    ['other', 'DNS:default.example'],
    [undefined, 'DNS:default.example'],
  ] as const) {
    assert.equal(await shown(t, tlsPort, host), names, host);
  }
});

test('a certificate that Kubernetes swaps is the new one for new connections, and calls go on meanwhile', async (t) => {
  const folder = await folderOf(t);
  await mkdir(join(folder, 'shop'));
  await mount(join(folder, 'shop'), '1', ['old.example']);
  const router = await startTls(t, { cert_folder: folder });
  const { tlsPort, clock } = router;
  const open = await connectTls(t, tlsPort);
  assert.equal(open.getPeerCertificate().subjectaltname, 'DNS:old.example');
  await mount(join(folder, 'shop'), '2', ['new.example']);
  while ((await shown(t, tlsPort)) !== 'DNS:new.example') clock.advance(10_000);
  assert.match(await answerOf(open, get('/a')), /^HTTP\/1\.1 200 [^]*ok$/);
  // A further one, and one that goes.
  await mkdir(join(folder, 'more'));
  await mount(join(folder, 'more'), '1', ['more.example']);
  while ((await shown(t, tlsPort, 'more.example')) !== 'DNS:more.example') clock.advance(10_000);
  await rm(join(folder, 'more'), { recursive: true });
  while ((await shown(t, tlsPort, 'more.example')) !== 'DNS:new.example') clock.advance(10_000);
  const expires = Number(
    await metric(router, 'holdfast_router_tls_certificate_expiration_timestamp_seconds{certificate="shop"}'),
  );
  assert.ok(Math.abs(expires - Date.now() / 1_000 - 2 * 86_400) < 3_600);
});

test('a pair that is broken is logged, and leaves the one before in use', async (t) => {
  const folder = await folderOf(t);
  await certificates(folder, 'good.example');
  const pair = { cert_file: join(folder, 'tls.crt'), key_file: join(folder, 'tls.key') };
  const router = await startTls(t, { certificate: [pair] });
  const { tlsPort } = router;
  for (const [file, text] of [
    ['tls.key', 'no key'],
    ['tls.crt', 'no certificate'],
  ] as const) {
    await writeFile(join(folder, file), text);
    await untilMetric(router, 'holdfast_router_tls_certificates_broken', '1');
    assert.equal(await shown(t, tlsPort), 'DNS:good.example');
  }
  await certificates(folder, 'better.example');
  await untilMetric(router, 'holdfast_router_tls_certificates_broken', '0');
  assert.equal(await shown(t, tlsPort), 'DNS:better.example');
  assert.ok(Number(await metric(router, 'holdfast_router_tls_certificate_failures_total')) >= 1);
});

test('without any certificate the router does not start, and says which files are wrong; one of several is enough', async (t) => {
  const folder = await folderOf(t);
  await certificates(folder, 'good.example');
  const good = { cert_file: join(folder, 'tls.crt'), key_file: join(folder, 'tls.key') };
  const missing = { cert_file: join(folder, 'none.crt'), key_file: join(folder, 'none.key') };
  const swapped = { cert_file: good.cert_file, key_file: join(folder, 'ca.key') };
  await assert.rejects(startTls(t, { certificate: [missing] }), /router\.tls: no certificate.*none\.(crt|key)/);
  await assert.rejects(startTls(t, { certificate: [swapped] }), /ca\.key does not fit .*tls\.crt: .*mismatch/);
  const { tlsPort } = await startTls(t, { certificate: [missing, good] });
  assert.equal(await shown(t, tlsPort), 'DNS:good.example');
});

async function startPlain(t: TestContext, tls: Partial<TlsConfig> = {}, more: object = {}): Promise<Tls> {
  const folder = await folderOf(t);
  await certificates(folder, 'h.example');
  const certificate = [{ cert_file: join(folder, 'tls.crt'), key_file: join(folder, 'tls.key') }];
  return startTls(t, { certificate, ...tls }, more);
}

test('TLS 1.2 and 1.3 are accepted, older versions are not, nor is 1.2 if 1.3 is the minimum', async (t) => {
  const { tlsPort } = await startPlain(t);
  for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
    const socket = await connectTls(t, tlsPort, { minVersion: version, maxVersion: version });
    assert.match(await answerOf(socket, get('/a')), /^HTTP\/1\.1 200 /);
  }
  const old = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' } as const;
  await assert.rejects(connectTls(t, tlsPort, old));
  const strict = await startPlain(t, { min_version: '1.3' });
  await assert.rejects(connectTls(t, strict.tlsPort, { maxVersion: 'TLSv1.2' }));
});

test('of the protocols that a client offers one that is spoken is taken, and one that offers none speaks HTTP/1.1', async (t) => {
  const { tlsPort } = await startPlain(t);
  const socket = await connectTls(t, tlsPort, { ALPNProtocols: ['x', 'http/1.1'] });
  assert.equal(socket.alpnProtocol, 'http/1.1');
  await assert.rejects(connectTls(t, tlsPort, { ALPNProtocols: ['x'] }), /no application protocol/);
  assert.match(await answerOf(await connectTls(t, tlsPort), get('/a')), /^HTTP\/1\.1 200 /);
});

test('a session is resumed by its ticket', async (t) => {
  const { tlsPort } = await startPlain(t);
  const first = await connectTls(t, tlsPort, { maxVersion: 'TLSv1.2' });
  const session = first.getSession();
  first.destroy();
  assert.ok(session !== undefined);
  const again = await connectTls(t, tlsPort, { maxVersion: 'TLSv1.2', session });
  assert.equal(again.isSessionReused(), true);
});

test('connections that do not become secure are closed in time, and those that are none at once', async (t) => {
  const router = await startPlain(t);
  const { tlsPort, clock } = router;
  const plain = connectTcp(tlsPort, '127.0.0.1');
  const silent = connectTcp(tlsPort, '127.0.0.1');
  const half = connectTcp(tlsPort, '127.0.0.1');
  const closed = [plain, silent, half].map((socket) => {
    socket.on('error', () => undefined).resume();
    return new Promise((resolve) => socket.once('close', resolve));
  });
  plain.write(get('/a'));
  half.write(Buffer.from('1603010200', 'hex'));
  await closed[0];
  while ((await metric(router, 'holdfast_router_tls_handshakes')) !== '1') await new Promise(setImmediate);
  let open = true;
  void Promise.all(closed).then(() => (open = false));
  await until(() => {
    clock.advance(5_000);
    return !open;
  }, 'the ends');
  assert.equal(await metric(router, 'holdfast_router_tls_handshakes_total{result="failed"}'), '1');
  assert.equal(await metric(router, 'holdfast_router_tls_handshakes_total{result="timeout"}'), '2');
});

test('handshakes that do not go on are evicted for others, and delay no call', async (t) => {
  const router = await startPlain(t, { max_handshakes: 3, handshake_timeout_secs: 300 });
  const { tlsPort } = router;
  const before = await connectTls(t, tlsPort);
  for (let i = 0; i < 4; i += 1) {
    const socket = connectTcp(tlsPort, '127.0.0.1');
    socket.on('error', () => undefined);
    t.after(() => socket.destroy());
    socket.write(Buffer.from('1603010200', 'hex'));
  }
  while ((await metric(router, 'holdfast_router_tls_handshakes')) !== '3') await new Promise(setImmediate);
  assert.match(await answerOf(before, get('/a')), /^HTTP\/1\.1 200 /);
  // The fourth takes the place of the first when the first is old. The next client then takes that of the second, which is as old.
  router.clock.advance(2_100);
  await untilMetric(router, 'holdfast_router_tls_handshakes_total{result="crowded"}', '1', 0);
  const another = await connectTls(t, tlsPort);
  assert.match(await answerOf(another, get('/a')), /^HTTP\/1\.1 200 /);
  // Broke: an old handshake was evicted although nothing waited for its place.
  assert.equal(await metric(router, 'holdfast_router_tls_handshakes_total{result="crowded"}'), '2');
  assert.equal(await metric(router, 'holdfast_router_tls_handshakes'), '2');
});

test('a client that floods the router with handshakes delays no other client', async (t) => {
  // Broke: the newest of all went first, so each connection of a flood that came later went before the others, for as long as it lasted.
  const router = await startPlain(t, { max_handshakes: 8, handshake_timeout_secs: 300 });
  const { tlsPort, clock } = router;
  // Nobody becomes old enough to make room.
  const stillMs = clock.nowMs();
  clock.nowMs = () => stillMs;
  const flood = (): void => {
    const socket = connectTcp(tlsPort, '127.0.0.1');
    socket.on('error', () => undefined);
    t.after(() => socket.destroy());
    socket.write(Buffer.from('1603010200', 'hex'));
  };
  for (let i = 0; i < 100; i += 1) flood();
  while ((await metric(router, 'holdfast_router_tls_handshakes')) !== '8') await new Promise(setImmediate);
  // All places are taken, and the flood goes on.
  for (let i = 0; i < 5; i += 1) {
    const socket = connectTcp({ port: tlsPort, host: '127.0.0.1', localAddress: `127.0.0.${i + 2}` });
    let answer = '';
    void connectTls(t, tlsPort, { socket })
      .then((secure) => answerOf(secure, get('/a')))
      .then((text) => (answer = text));
    for (let count = 0; count < 20; count += 1) flood();
    await until(() => answer !== '', 'the answer to another client');
    assert.match(answer, /^HTTP\/1\.1 200 /);
  }
});

test('a client that leaves in the middle of its handshake frees its place', async (t) => {
  const router = await startPlain(t);
  const sockets = ['1603010200', ''].map((hello) => {
    const socket = connectTcp(router.tlsPort, '127.0.0.1');
    socket.on('error', () => undefined).resume();
    socket.write(Buffer.from(hello, 'hex'));
    return socket;
  });
  while ((await metric(router, 'holdfast_router_tls_handshakes')) !== '1') await new Promise(setImmediate);
  for (const socket of sockets) socket.end();
  await untilMetric(router, 'holdfast_router_tls_handshakes_total{result="left"}', '2', 0);
  assert.equal(await metric(router, 'holdfast_router_tls_handshakes'), '0');
});

test('what is no record of TLS, behind the handshake, ends the connection and its call', async (t) => {
  const router = await startPlain(t);
  const raw = connectTcp(router.tlsPort, '127.0.0.1');
  const socket = await connectTls(t, router.tlsPort, { socket: raw });
  socket.write('GET /b HTTP/1.1\r\nHost: h\r\n\r\n');
  await until(() => router.router.held === 1, 'a held call');
  raw.write(Buffer.from(`1703030010${'aa'.repeat(16)}`, 'hex'));
  await until(() => router.router.held === 0, 'its end');
});

test('connections over TLS count among all, secure or not', async (t) => {
  const router = await startPlain(t, {}, { max_connections: 44 });
  const silent = connectTcp(router.tlsPort, '127.0.0.1');
  t.after(() => silent.destroy());
  await new Promise((resolve) => silent.once('connect', resolve));
  await connectTls(t, router.tlsPort);
  await assert.rejects(connectTls(t, router.tlsPort));
  assert.equal(await metric(router, 'holdfast_router_connections_refused_total{reason="all"}'), '1');
});

test('a drain lets a connection that is just becoming secure make its call', async (t) => {
  const router = await startPlain(t);
  const raw = connectTcp(router.tlsPort, '127.0.0.1');
  await new Promise((resolve) => raw.once('connect', resolve));
  const opening = connectTls(t, router.tlsPort, { socket: raw });
  const early = await connectTls(t, router.tlsPort);
  const drained = router.router.drain();
  assert.match(await answerOf(await opening, get('/a')), /^HTTP\/1\.1 200 /);
  assert.match(await answerOf(early, get('/a')), /^HTTP\/1\.1 200 /);
  await drained;
});

test('with redirect_http, calls without TLS are redirected to https, except those that reached a trusted proxy by it', async (t) => {
  const { router, port } = await startPlain(t, { redirect_http: true }, { trusted_proxies: ['127.0.0.1'] });
  const send = (text: string): Promise<string> =>
    new Promise((resolve) => {
      const socket = connectTcp(port, '127.0.0.1');
      let answer = '';
      socket.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
      socket.on('close', () => resolve(answer));
      socket.write(text);
    });
  assert.match(
    await send(
      'POST /a/x?y=%20 HTTP/1.1\r\nHost: shop.example:8080\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab',
    ),
    /^HTTP\/1\.1 308 Permanent Redirect\r\nLocation: https:\/\/shop\.example\/a\/x\?y=%20\r\nContent-Length: 0\r\nDate: [^\r]+\r\nConnection: close\r\n\r\n$/,
  );
  // A connection stays open for more.
  assert.equal((await send(`${get('/a').replace('Connection: close\r\n', '')}${get('/a')}`)).match(/308/g)?.length, 2);
  assert.match(await send('GET /a HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 400 /);
  const proxied = get('/a').replace('Host: h', 'Host: h\r\nX-Forwarded-Proto: https, http');
  assert.match(await send(proxied), /^HTTP\/1\.1 200 /);
  assert.match(await send(proxied.replace('https, http', 'http')), /^HTTP\/1\.1 308 /);
  const elsewhere = await startPlain(t, { redirect_http: true, public_port: 8443 });
  assert.ok(router.tlsPort !== elsewhere.tlsPort);
  const secure = await connectTls(t, elsewhere.tlsPort);
  assert.match(await answerOf(secure, get('/a')), /^HTTP\/1\.1 200 /);
});
