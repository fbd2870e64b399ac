/** Against a real registry (Debian's docker-registry), its data made of raw API calls. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomUUID, sign, X509Certificate } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { request, Agent } from 'undici';
import { systemClock } from '../../shared/wait/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { certificates } from '../../test/support/certificates.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { registry as registrySection } from '../config/registry-section.ts';
import { connectRegistry, type ConnectedRegistry } from '../compose/registry.ts';
import { startRegistry, tokenService } from '../testing/registry.ts';

const run = promisify(execFile);
const patient = (): AbortSignal => AbortSignal.timeout(30_000);
const sha256 = (text: string): string => `sha256:${createHash('sha256').update(text).digest('hex')}`;

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-registry-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

interface Settings {
  readonly [key: string]: unknown;
}

async function connect(t: TestContext, section: Settings): Promise<ConnectedRegistry> {
  const config = registrySection.parse(section);
  const connected = await connectRegistry({
    config: { registry: config, registries: [] },
    env: {},
    clock: systemClock,
    log: silentLog,
  });
  t.after(() => connected.close());
  return connected;
}

interface PushOptions {
  readonly authorization?: string;
  readonly dispatcher?: Agent;
}

/** Pushes an image of nothing but its label. @returns its digest. */
async function push(origin: string, repository: string, tag: string, options: PushOptions = {}): Promise<string> {
  const { authorization, dispatcher } = options;
  const headers = authorization === undefined ? {} : { authorization };
  const via = dispatcher === undefined ? {} : { dispatcher };
  const config = JSON.stringify({ label: tag });
  const begun = await request(`${origin}/v2/${repository}/blobs/uploads/`, { method: 'POST', headers, ...via });
  await begun.body.dump();
  const location = new URL(String(begun.headers.location), origin);
  location.searchParams.set('digest', sha256(config));
  const blob = await request(location, { method: 'PUT', headers, body: config, ...via });
  assert.equal(blob.statusCode, 201, await blob.body.text());
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', size: config.length, digest: sha256(config) },
    layers: [],
  });
  const put = await request(`${origin}/v2/${repository}/manifests/${tag}`, {
    method: 'PUT',
    headers: { ...headers, 'content-type': mediaType },
    body: manifest,
    ...via,
  });
  assert.equal(put.statusCode, 201, await put.body.text());
  return sha256(manifest);
}

test('tags are found, listed, and deleted by digest', async (t) => {
  const { host } = await startRegistry(t);
  const { registry } = await connect(t, { url: host, insecure: true });
  const repository = `${host}/team/app`;
  assert.deepEqual(await registry.tags(repository, patient()), []);
  assert.equal(await registry.exists(`${repository}:1`, patient()), undefined);
  const digests = new Map<string, string>();
  for (const tag of ['1', '2', '3']) digests.set(tag, await push(`http://${host}`, 'team/app', tag));
  assert.equal(await registry.exists(`${repository}:2`, patient()), digests.get('2'));
  assert.equal(await registry.exists(`${repository}@${digests.get('2')}`, patient()), digests.get('2'));
  assert.deepEqual(await registry.tags(repository, patient()), ['1', '2', '3']);
  await registry.deleteManifest(repository, digests.get('2') ?? '', patient());
  assert.equal(await registry.exists(`${repository}:2`, patient()), undefined);
  await registry.deleteManifest(repository, digests.get('2') ?? '', patient());
  await assert.rejects(registry.digest(`${repository}:2`, patient()), { code: 'image_not_found', phase: 'pull' });
});

test('a registry that does not delete is told so', async (t) => {
  const { host } = await startRegistry(t, { deletes: false });
  const { registry } = await connect(t, { url: host, insecure: true });
  const digest = await push(`http://${host}`, 'app', '1');
  await assert.rejects(registry.deleteManifest(`${host}/app`, digest, patient()), {
    code: 'image_denied',
    message: /does not allow images to be deleted.*DELETE_ENABLED/,
  });
});

test('TLS by a private authority and a password by file; what is wrong fails at once and says what', async (t) => {
  const folder = await folderOf(t);
  const { ca, cert, key } = await certificates(folder, '127.0.0.1');
  await writeFile(join(folder, 'private.crt'), ca);
  const { stdout: htpasswd } = await run('htpasswd', ['-Bbn', 'me', 'right']);
  const { host } = await startRegistry(t, { htpasswd, tls: { cert, key } });
  const dispatcher = new Agent({ connect: { ca } });
  t.after(() => dispatcher.close());
  const authorization = `Basic ${Buffer.from('me:right').toString('base64')}`;
  const digest = await push(`https://${host}`, 'app', '1', { authorization, dispatcher });
  const image = `${host}/app:1`;
  const trusted = { url: host, ca_file: join(folder, 'private.crt') };
  const right = await connect(t, { ...trusted, username: 'me', password: 'right' });
  assert.equal(await right.registry.digest(image, patient()), digest);
  assert.deepEqual(await right.registry.tags(`${host}/app`, patient()), ['1']);
  assert.equal(right.own?.ca, ca);

  const wrong = await connect(t, { ...trusted, username: 'me', password: 'wrong' });
  await assert.rejects(wrong.registry.exists(image, patient()), { code: 'image_denied', message: /credentials/ });
  const nobody = await connect(t, trusted);
  await assert.rejects(nobody.registry.exists(image, patient()), {
    code: 'image_denied',
    message: /has no credentials/,
  });
  const distrusting = await connect(t, { url: host, username: 'me', password: 'right' });
  await assert.rejects(distrusting.registry.exists(image, patient()), {
    code: 'registry_unavailable',
    message: /signed by an authority that is unknown here.*ca_file/,
  });
  const plain = await startRegistry(t);
  const speaking = await connect(t, { url: plain.host });
  await assert.rejects(speaking.registry.exists(`${plain.host}/app:1`, patient()), { message: /does not speak TLS/ });
  await assert.rejects(connect(t, { url: host, ca_file: '/nowhere.crt' }), {
    code: 'config_invalid',
    message: /registry\.ca_file cannot be read/,
  });
});

test('a docker config.json gives credentials, and is read anew when it has changed', async (t) => {
  const folder = await folderOf(t);
  const { stdout: htpasswd } = await run('htpasswd', ['-Bbn', 'me', 'right']);
  const { host } = await startRegistry(t, { htpasswd });
  const file = join(folder, 'config.json');
  const write = async (auths: unknown): Promise<void> => writeFile(file, JSON.stringify({ auths }));
  const auth = (password: string): { auth: string } => ({ auth: Buffer.from(`me:${password}`).toString('base64') });
  await write({ [host]: auth('wrong') });
  const { registry, credentials } = await connect(t, { url: host, insecure: true, docker_config_file: file });
  await assert.rejects(registry.exists(`${host}/team/app:1`, patient()), { code: 'image_denied' });
  await write({ [host]: auth('wrong'), [`${host}/team`]: { username: 'me', password: 'right' } });
  assert.equal(await registry.exists(`${host}/team/app:1`, patient()), undefined);
  await assert.rejects(registry.exists(`${host}/other/app:1`, patient()), { code: 'image_denied' });
  await writeFile(file, 'half of a fi');
  assert.equal(await registry.exists(`${host}/team/app:1`, patient()), undefined, 'what it said before is used');
  const { auths } = await credentials.dockerConfig([host], patient());
  assert.deepEqual(Object.keys(auths), [host, `${host}/team`]);
});

test('a client certificate is shown to the registry, and needed', async (t) => {
  const folder = await folderOf(t);
  const server = await certificates(join(folder, 'server'), '127.0.0.1');
  const client = await certificates(join(folder, 'client'), 'agent');
  const { host } = await startRegistry(t, { tls: { cert: server.cert, key: server.key, clientCa: client.ca } });
  const files = { ca_file: join(folder, 'server', 'ca.crt') };
  const client_cert_file = join(folder, 'client', 'tls.crt');
  const client_key_file = join(folder, 'client', 'tls.key');
  const known = await connect(t, { url: host, ...files, client_cert_file, client_key_file });
  assert.equal(await known.registry.exists(`${host}/app:1`, patient()), undefined);
  const unknown = await connect(t, { url: host, ...files });
  await assert.rejects(unknown.registry.exists(`${host}/app:1`, patient()), {
    code: 'registry_unavailable',
    message: /client certificate/,
  });
  const wrongKey = join(folder, 'server', 'tls.key');
  await assert.rejects(connect(t, { url: host, ...files, client_cert_file, client_key_file: wrongKey }), {
    code: 'config_invalid',
  });
});

interface TokenServer {
  readonly realm: string;
  readonly certificate: string;
  readonly key: string;
  readonly asked: string[];
}

/** A token service as the registry's specification has it: tokens of what was asked for, signed. */
async function startTokenService(t: TestContext, password: string): Promise<TokenServer> {
  const folder = await folderOf(t);
  const { cert, key } = await certificates(folder, '127.0.0.1');
  const asked: string[] = [];
  const server = createServer((incoming, response) => {
    const url = new URL(incoming.url ?? '/', 'http://token.invalid');
    const expected = `Basic ${Buffer.from(`me:${password}`).toString('base64')}`;
    if (incoming.headers.authorization !== expected) {
      response.writeHead(401).end();
      return;
    }
    const scopes = url.searchParams.getAll('scope');
    asked.push(...scopes);
    response.end(JSON.stringify({ token: tokenOf(scopes, cert, key) }));
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { realm: `http://127.0.0.1:${String(port)}/token`, certificate: cert, key, asked };
}

function tokenOf(scopes: readonly string[], certificate: string, key: string): string {
  const access = scopes.map((scope) => {
    const [type, name, actions = ''] = scope.split(':');
    return { type, name, actions: actions.split(',') };
  });
  const now = Math.floor(Date.now() / 1_000);
  const x5c = [new X509Certificate(certificate).raw.toString('base64')];
  const { service: aud, issuer: iss } = tokenService;
  const parts = [
    { typ: 'JWT', alg: 'ES256', x5c },
    { iss, aud, sub: 'me', nbf: now - 60, iat: now - 60, exp: now + 300, jti: randomUUID(), access },
  ].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  const signature = sign('sha256', Buffer.from(parts.join('.')), { key, dsaEncoding: 'ieee-p1363' });
  return [...parts, signature.toString('base64url')].join('.');
}

test('tokens are asked for what is done: to pull, to push, to delete', async (t) => {
  const service = await startTokenService(t, 'right');
  const { host } = await startRegistry(t, { token: service });
  const pushing = `Bearer ${tokenOf(['repository:team/app:pull,push'], service.certificate, service.key)}`;
  const digest = await push(`http://${host}`, 'team/app', '1', { authorization: pushing });
  const { registry } = await connect(t, { url: host, insecure: true, username: 'me', password: 'right' });
  assert.equal(await registry.exists(`${host}/team/app:1`, patient()), digest);
  await registry.deleteManifest(`${host}/team/app`, digest, patient());
  assert.deepEqual(service.asked, ['repository:team/app:pull', 'repository:team/app:delete']);
  const wrong = await connect(t, { url: host, insecure: true, username: 'me', password: 'wrong' });
  await assert.rejects(wrong.registry.exists(`${host}/team/app:1`, patient()), { code: 'image_denied' });
});

test('a registry that comes back within the time was never away', async (t) => {
  const first = await startRegistry(t);
  const digest = await push(`http://${first.host}`, 'app', '1');
  const { registry } = await connect(t, { url: first.host, insecure: true });
  assert.equal(await registry.exists(`${first.host}/app:1`, patient()), digest);
  await first.stop();
  await assert.rejects(registry.exists(`${first.host}/app:1`, patient()), { code: 'registry_unavailable' });
  const { folder } = first;
  await startRegistry(t, { folder, port: Number(first.host.split(':')[1]) });
  await eventually(10_000, async () => assert.equal(await registry.exists(`${first.host}/app:1`, patient()), digest));
});
