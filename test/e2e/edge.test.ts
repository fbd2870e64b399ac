/** Routers as an operator puts them on the edge: TLS by Secrets, two workers in each, and what is changed there while calls come. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectHttp2 } from 'node:http2';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test, type TestContext } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import { Agent, request } from 'undici';
import { certificates } from '../support/certificates.ts';
import { callAtOnce, startLoad, versionOf, type Load } from '../support/load.ts';
import { helm, kubectl, pods, registryHost } from './cluster.ts';
import { Release } from './release.ts';
import { allAnswered, applied, said, until } from './scenario.ts';

const workers = 2;
const release = new Release('holdfast-edge', 2 * workers);
const { namespace } = release;
const hosts = ['first.example', 'second.example'] as const;
const values = [
  'registry.enabled=false',
  `externalRegistry.url=${registryHost()}`,
  'externalRegistry.insecure=true',
  `router.config.workers=${workers}`,
  'router.config.tls.reload_secs=1',
  ...hosts.map((host, index) => `router.tls.secrets[${index}]=${secretOf(host)}`),
];
/** PEM of the authorities. */
const ca: string[] = [];
let folder = '';

function secretOf(host: string): string {
  return host.replace('.example', '-tls');
}

/** A Secret of the type that cert-manager makes, made or replaced. */
async function certify(host: string): Promise<void> {
  const made = await mkdtemp(join(folder, 'pki-'));
  const pair = await certificates(made, host);
  ca.push(pair.ca);
  const files = [`--cert=${join(made, 'tls.crt')}`, `--key=${join(made, 'tls.key')}`];
  const secret = [
    'create',
    'secret',
    'tls',
    secretOf(host),
    '-n',
    namespace,
    ...files,
    '--dry-run=client',
    '-o',
    'json',
  ];
  await writeFile(join(made, 'secret.json'), await kubectl(...secret));
  await kubectl('apply', '-f', join(made, 'secret.json'));
}

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-edge-'));
  await kubectl('delete', 'namespace', namespace, release.appsNamespace, '--ignore-not-found');
  await kubectl('create', 'namespace', namespace);
  for (const host of hosts) await certify(host);
  await release.install(...values);
});
after(async () => {
  await release.uninstall().catch(() => kubectl('delete', 'namespace', namespace, release.appsNamespace));
  await rm(folder, { recursive: true });
});

const addressOf = async (): Promise<string> => new URL(await release.serviceUrl()).hostname;

async function handshake(address: { host: string; port: number }, servername: string): Promise<TLSSocket> {
  const socket = connect({ ...address, servername, ca, ALPNProtocols: ['h2', 'http/1.1'] });
  const { promise, resolve, reject } = Promise.withResolvers<TLSSocket>();
  socket.once('error', reject).once('secureConnect', () => resolve(socket));
  return await promise;
}

/** Certificates that connections are shown one after the other, by router; enough for each worker to have one. */
async function shown(host: string): Promise<Set<string>> {
  const found = new Set<string>();
  for (const { status } of await release.pods('router')) {
    for (let count = 0; count < 8; count += 1) {
      const socket = await handshake({ host: status.podIP ?? '', port: 8443 }, host);
      found.add(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    }
  }
  return found;
}

async function metricsOf(podIP: string): Promise<{ readonly text: string; value(name: string): number }> {
  const text = await (await request(`http://${podIP}:8081/metrics`)).body.text();
  const value = (name: string): number =>
    text
      .split('\n')
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
  return { text, value };
}

/** Half on connections that are kept, half each on one of its own; answered already when this resolves. */
async function loadsOn(t: TestContext, urls: readonly string[]): Promise<readonly Load[]> {
  const loads = [{}, { connection: 'close' }].map((more) =>
    startLoad({ urls, callsPerSecond: 25, headers: { host: hosts[0], ...more }, tls: { ca, servername: hosts[0] } }),
  );
  for (const load of loads) t.after(() => load.stop());
  await until(60_000, () => loads.every(({ records }) => records.length > 10), 'the app does not answer yet');
  return loads;
}

async function routers(): Promise<readonly { readonly uid: string; readonly restarts: number }[]> {
  const selector = 'app.kubernetes.io/component=router';
  const { items } = JSON.parse(await kubectl('get', 'pods', '-n', namespace, '-l', selector, '-o', 'json')) as {
    items: { metadata: { uid: string }; status: { containerStatuses: { restartCount: number }[] } }[];
  };
  return items.map(({ metadata, status }) => ({
    uid: metadata.uid,
    restarts: status.containerStatuses[0]?.restartCount ?? -1,
  }));
}

test('the certificate is of the host that is asked for, and of the first for any other', async () => {
  const host = await addressOf();
  const names = async (servername: string): Promise<string | undefined> => {
    const socket = await handshake({ host, port: 443 }, servername);
    const { subjectaltname } = socket.getPeerCertificate();
    socket.destroy();
    return subjectaltname;
  };
  assert.equal(await names('first.example'), 'DNS:first.example');
  assert.equal(await names('second.example'), 'DNS:second.example');
  await assert.rejects(names('other.example'), /not in the cert's altnames: DNS:first\.example/);
});

test('a sleeping app is woken by https through the Service, by HTTP/1.1 and by HTTP/2', async () => {
  const host = await addressOf();
  await applied(release, { name: 'edge', says: '1', config: 'container.idle_shutdown_secs = 1' });
  const dispatcher = new Agent({ connect: { ca, servername: hosts[1] } });
  const answer = await request(`https://${host}/edge/hello`, { dispatcher, headers: { host: hosts[1] } });
  assert.equal(answer.statusCode, 200);
  assert.match(String(answer.headers['server-timing']), /^hold;dur=/);
  const told = (await answer.body.json()) as { headers: Record<string, string> };
  assert.deepEqual([told.headers['x-forwarded-proto'], told.headers['x-forwarded-host']], ['https', hosts[1]]);
  await dispatcher.close();

  const asleep = async () => (await release.call('apps.get', { app: 'edge' })).state === 'asleep';
  await until(60_000, asleep, 'it does not go to zero');
  const socket = await handshake({ host, port: 443 }, hosts[0]);
  assert.equal(socket.alpnProtocol, 'h2');
  const session = connectHttp2(`https://${hosts[0]}`, { createConnection: () => socket });
  try {
    const stream = session.request({ ':path': '/edge/hello' });
    const { promise, resolve, reject } = Promise.withResolvers<Record<string, unknown>>();
    stream.once('error', reject).once('response', resolve);
    const fields = await promise;
    assert.equal(fields[':status'], 200);
    assert.match(String(fields['server-timing']), /^hold;dur=/);
    assert.match((await stream.setEncoding('utf8').toArray()).join(''), /"version":"1"/);
  } finally {
    session.destroy();
  }
});

test('a certificate that is replaced in its Secret is shown without a restart, and no call fails', async (t) => {
  await applied(release, { name: 'edge', says: '1' });
  const loads = await loadsOn(t, [`https://${await addressOf()}/edge/`]);
  const [before, podsBefore] = [await shown(hosts[1]), await routers()];
  assert.equal(before.size, 1);
  await certify(hosts[1]);
  // A change of the pod has the kubelet look at what is mounted; by itself it does that once a minute.
  const nudge = `holdfast.example/seen=${Date.now()}`;
  await kubectl('annotate', 'pods', '-n', namespace, '-l', 'app.kubernetes.io/component=router', nudge);
  const [old] = before;
  await until(90_000, async () => !(await shown(hosts[1])).has(old ?? ''), 'the old certificate is shown');
  assert.equal((await shown(hosts[1])).size, 1);
  for (const load of loads) allAnswered(await load.stop());
  assert.deepEqual(await routers(), podsBefore);
});

test('200 concurrent first calls through both routers are held by all their workers and answered by one start', async () => {
  await applied(release, { name: 'crowd', says: '1', config: 'wake.max_per_hour = 1' });
  const records = await Promise.all((await release.routerUrls()).map((url) => callAtOnce(`${url}/crowd/`, 100)));
  allAnswered(records.flat());
  const names = await kubectl(
    'get',
    'deployments',
    '-n',
    release.appsNamespace,
    '-l',
    'holdfast.dev/app=crowd',
    '-o',
    'name',
  );
  assert.equal(names.trim().split('\n').length, 1, names);
});

test('/metrics of a router covers both its workers, and lists each metric once', async () => {
  const [router] = await release.pods('router');
  const podIP = router?.status.podIP ?? '';
  const before = await metricsOf(podIP);
  assert.equal(before.value('holdfast_router_workers'), workers);
  const calls = 40;
  for (let call = 0; call < calls; call += 1) {
    const { statusCode, body } = await request(`http://${podIP}:8080/edge/`, { headers: { connection: 'close' } });
    assert.equal(statusCode, 200);
    await body.dump();
  }
  const after = await metricsOf(podIP);
  const counted = 'holdfast_router_requests_total';
  assert.equal(after.value(counted) - before.value(counted), calls);
  const names = after.text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  const series = names.map((line) => line.slice(0, line.lastIndexOf(' ')));
  assert.equal(new Set(series).size, series.length);
});

test('strict, with two workers in each router: no call fails, none that began after apply is answered by v1', async (t) => {
  const urls = (await release.pods('router')).map(({ status }) => `https://${status.podIP ?? ''}:8443/edge/`);
  const loads = await loadsOn(t, urls);
  await applied(release, { name: 'edge', says: '2' });
  const returnedMs = performance.now();
  await until(30_000, () => loads.every((load) => said(load, '2')), 'v2 does not answer');
  for (const load of loads) {
    const records = await load.stop();
    allAnswered(records);
    const late = records.filter((record) => record.startMs > returnedMs && versionOf(record) === '1');
    assert.deepEqual(late, []);
  }
});

test('an upgrade that redirects what comes without TLS replaces both routers, and no call by https fails', async (t) => {
  const host = await addressOf();
  const loads = await loadsOn(t, [`https://${host}/edge/`]);
  const old = await routers();
  await release.install(...values, 'router.config.tls.redirect_http=true');
  const uids = new Set(old.map(({ uid }) => uid));
  const gone = async () => (await routers()).every(({ uid }) => !uids.has(uid));
  await until(60_000, gone, 'old routers are there');
  for (const load of loads) allAnswered(await load.stop());

  const headers = { host: hosts[0] };
  const { statusCode, headers: told } = await request(`http://${host}/edge/there?a=b`, { headers });
  assert.deepEqual([statusCode, told['location']], [308, 'https://first.example/edge/there?a=b']);
  assert.equal((await pods(namespace, 'app.kubernetes.io/component=router')).length, 2);
  assert.match(await helm('test', 'holdfast', '-n', namespace, '--timeout', '2m'), /Phase: +Succeeded/);
  const notes = await helm('get', 'notes', 'holdfast', '-n', namespace);
  assert.match(notes, /port-forward service\/holdfast-router 8443:443 &/);
  assert.match(notes, /curl -ik https:\/\/127\.0\.0\.1:8443\/hello/);
  assert.match(notes, /in first-tls, second-tls\.\n.*https:\/\/<host>\/hello/);
});
