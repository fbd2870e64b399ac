/** Uploads and webhooks over HTTP, through the agent's own server. */
import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { request } from 'node:http';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { systemClock } from '../../shared/wait/clock.ts';
import { silentLog } from '../../shared/log.ts';
import { appSpec, type AppSpec } from '../../shared/protocol/app-spec.ts';
import { defaultSourceLimits, type SourceLimits } from '../../shared/source/limits.ts';
import { tarGzOf } from '../../shared/source/testing/archive.ts';
import { createRpcServer } from '../rpc/server.ts';
import type { Upload, UploadStore } from '../store/upload-store.ts';
import type { SyncApp } from '../source/sync.ts';
import { tokensOf } from '../testing/tokens.ts';
import { createUploadEndpoint } from './upload-endpoint.ts';
import { createUploads, type Uploads } from '../source/uploads.ts';
import { createWebhookEndpoint } from './webhook-endpoint.ts';

const deployToken = 'd'.repeat(32);
const readToken = 'r'.repeat(32);
const secret = 'the secret of the webhook';
const never = new AbortController().signal;

interface Bench {
  readonly url: string;
  readonly uploads: Uploads;
  /** Archives that the store holds. */
  readonly archives: () => string[];
  readonly looked: string[][];
  /** What the audit gets. */
  readonly audited: string[];
  readonly apps: SyncApp[];
}

async function createBench(t: TestContext, limits: Partial<SourceLimits> = {}): Promise<Bench> {
  const { store, archives } = memoryStore();
  const looked: string[][] = [];
  const audited: string[] = [];
  const apps: SyncApp[] = [];
  const server = createRpcServer({
    tokens: tokensOf([
      { name: 'deployer', value: deployToken, scopes: ['deploy'] },
      { name: 'reader', value: readToken, scopes: ['read'] },
    ]),
    local: {},
    remote: {},
    handlers: {},
    isLeader: () => true,
    log: silentLog,
    endpoints: [
      createUploadEndpoint({ store, onDenied: (_request, { code }, token) => audited.push(`${token} ${code}`) }),
      createWebhookEndpoint({
        secret,
        clock: systemClock,
        apps: () => apps,
        look: (names) => looked.push([...names]),
        audit: (_request, outcome, names) =>
          audited.push(`webhook ${outcome === 'ok' ? 'ok' : outcome.code} ${names.join()}`.trim()),
      }),
    ],
  });
  const port = await server.listen({ host: '127.0.0.1', port: 0 });
  t.after(() => server.close());
  const uploads = createUploads({ store, limits: { ...defaultSourceLimits, ...limits }, clock: systemClock });
  return { url: `http://127.0.0.1:${port}`, uploads, archives, looked, audited, apps };
}

/** Parts of 100 bytes. */
function memoryStore(): { store: UploadStore; archives: () => string[] } {
  const uploads = new Map<string, { upload: Upload; parts: Map<number, Buffer> }>();
  async function* read(archive: string): AsyncGenerator<Buffer> {
    const parts = uploads.get(archive)?.parts ?? new Map<number, Buffer>();
    for (const [, data] of [...parts].toSorted(([a], [b]) => a - b)) yield data;
  }
  const store: UploadStore = {
    read,
    async begin(archive, bytes) {
      const known = uploads.get(archive) ?? { upload: { bytes, partBytes: 100, tree: undefined }, parts: new Map() };
      uploads.set(archive, known);
      return known.upload;
    },
    get: async (archive) => uploads.get(archive)?.upload,
    async missing(archive, { bytes, partBytes }) {
      const parts = uploads.get(archive)?.parts;
      return Array.from({ length: Math.ceil(bytes / partBytes) }, (_, part) => part).filter(
        (part) => parts?.has(part) !== true,
      );
    },
    async put(archive, part, data) {
      uploads.get(archive)?.parts.set(part, data);
    },
    async complete(archive, tree) {
      const known = uploads.get(archive);
      if (known) uploads.set(archive, { ...known, upload: { ...known.upload, tree } });
    },
    async remove(archive) {
      uploads.delete(archive);
    },
    find: async () => false,
    readTree: read,
    prune: async () => 0,
  };
  return { store, archives: () => [...uploads.keys()] };
}

function put(bench: Bench, path: string, body: Buffer, init: RequestInit = {}): Promise<Response> {
  const headers = { Authorization: `Bearer ${deployToken}` };
  return fetch(`${bench.url}/sources/${path}`, { method: 'PUT', headers, body: Uint8Array.from(body), ...init });
}

async function codeOf(response: Response): Promise<unknown> {
  return ((await response.json()) as { code?: unknown }).code;
}

function hashOf(data: Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

async function send(bench: Bench, archive: Buffer, parts?: readonly number[]): Promise<string> {
  const name = hashOf(archive);
  const { missing, partBytes } = await bench.uploads.begin(name, archive.length, 'ci');
  for (const part of parts ?? missing) {
    const response = await put(bench, `${name}/${part}`, archive.subarray(part * partBytes, (part + 1) * partBytes));
    assert.equal(response.status, 204);
  }
  return name;
}

const noise = Buffer.from(Array.from({ length: 500 }, (_, index) => (index * 7_919) % 251));

void test('an upload that was cut goes on where it was, and becomes a source', async (t) => {
  const bench = await createBench(t);
  const archive = tarGzOf({ name: 'index.html', data: noise });
  const name = await send(bench, archive, [0, 2]);
  const incomplete = {
    code: 'upload_incomplete',
    message: /parts of the upload are missing: run `holdfast deploy` again/,
  };
  await assert.rejects(bench.uploads.complete(name, never), incomplete);
  const { missing } = await bench.uploads.begin(name, archive.length, 'ci');
  assert.ok(!missing.includes(0) && missing.includes(1) && !missing.includes(2));
  await send(bench, archive);
  const done = await bench.uploads.complete(name, never);
  assert.match(done.source, /^upload:sha256:[0-9a-f]{64}$/);
  assert.deepEqual([done.files, done.bytes], [1, noise.length]);
  assert.deepEqual(await bench.uploads.complete(name, never), done);
  assert.equal((await bench.uploads.begin(name, archive.length, 'ci')).source, done.source);
  // The same tree in another archive is the same source.
  const other = await send(bench, tarGzOf({ name: './index.html', data: noise, mode: 0o600 }));
  assert.notEqual(other, name);
  assert.equal((await bench.uploads.complete(other, never)).source, done.source);
});

void test('hostile archives are refused and deleted', async (t) => {
  const bench = await createBench(t, { maxFiles: 50, maxBytes: 100_000 });
  const many = Array.from({ length: 60 }, (_, index) => ({ name: `f${index}` }));
  for (const [archive, message] of [
    [tarGzOf({ name: '../../x', data: 'x' }), /\.\.\/\.\.\/x leads out/],
    [tarGzOf({ name: 'passwd', type: '2', linkName: '/etc/passwd' }), /passwd is a link that leads out/],
    [tarGzOf({ name: 'zeros', data: Buffer.alloc(200_000) }), /larger than 100000 bytes/],
    [tarGzOf(...many), /more than 50 files/],
    [Buffer.from('no archive at all'), /no whole gzip archive/],
  ] as const) {
    const name = await send(bench, archive);
    await assert.rejects(bench.uploads.complete(name, never), { code: 'source_invalid', message });
  }
  assert.deepEqual(bench.archives(), []);
  await assert.rejects(bench.uploads.begin('a'.repeat(64), 100_001, 'ci'), { code: 'source_invalid' });
});

void test('what arrived damaged is deleted, and can be sent again', async (t) => {
  const bench = await createBench(t);
  const archive = tarGzOf({ name: 'a', data: noise });
  const name = await send(bench, archive);
  await put(bench, `${name}/0`, Buffer.alloc(100));
  await assert.rejects(bench.uploads.complete(name, never), { code: 'upload_incomplete', message: /digest/ });
  await send(bench, archive);
  await bench.uploads.complete(name, never);
});

void test('parts need the scope, an upload, their exact length and a number that is', async (t) => {
  const bench = await createBench(t);
  const archive = tarGzOf({ name: 'a', data: noise });
  const name = await send(bench, archive, []);
  const part = archive.subarray(0, 100);
  const headers = { Authorization: `Bearer ${readToken}` };
  const cases: [() => Promise<Response>, number, string][] = [
    [() => put(bench, `${name}/0`, part, { headers: {} }), 401, 'unauthenticated'],
    [() => put(bench, `${name}/0`, part, { headers }), 403, 'forbidden'],
    [() => put(bench, `${'0'.repeat(64)}/0`, part), 409, 'upload_incomplete'],
    [() => put(bench, `${name}/0`, part.subarray(1)), 400, 'invalid_request'],
    [() => put(bench, `${name}/0`, Buffer.alloc(101)), 400, 'invalid_request'],
    [() => put(bench, `${name}/99`, part), 400, 'invalid_request'],
    [() => put(bench, `${name}/-1`, part), 404, 'method_not_found'],
    [() => put(bench, `${name}/0`, part, { method: 'POST' }), 405, 'invalid_request'],
  ];
  for (const [answer, status, code] of cases) {
    const response = await answer();
    assert.deepEqual([response.status, await codeOf(response)], [status, code]);
  }
  assert.deepEqual(
    bench.audited.filter((line) => line.endsWith('forbidden')),
    ['reader forbidden'],
  );
});

void test('a client that leaves in the middle of a part has sent nothing of it', async (t) => {
  const bench = await createBench(t);
  const archive = tarGzOf({ name: 'a', data: noise });
  const name = await send(bench, archive, []);
  const headers = { Authorization: `Bearer ${deployToken}`, 'Content-Length': 100 };
  const cut = request(`${bench.url}/sources/${name}/0`, { method: 'PUT', headers });
  cut.on('error', () => undefined);
  cut.write(archive.subarray(0, 50));
  await once(cut, 'socket');
  const closed = new Promise((resolve) => cut.on('close', resolve));
  cut.destroy();
  await closed;
  assert.ok((await bench.uploads.begin(name, archive.length, 'ci')).missing.includes(0));
  await send(bench, archive);
  await bench.uploads.complete(name, never);
});

function app(name: string, overrides: Partial<AppSpec>): SyncApp {
  return { name, spec: appSpec.parse({ name, path: `/${name}`, auto_sync: true, ...overrides }), digests: [] };
}

async function hook(
  bench: Bench,
  body: string,
  options: { path?: string; signature?: string; type?: string } = {},
): Promise<Response> {
  const signature = options.signature ?? `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`;
  return fetch(`${bench.url}${options.path ?? '/hooks/git'}`, {
    method: 'POST',
    headers: { 'X-Hub-Signature-256': signature, 'Content-Type': options.type ?? 'application/json' },
    body,
  });
}

void test('a push has the apps looked at that follow its repository and its ref', async (t) => {
  const bench = await createBench(t);
  bench.apps.push(
    app('https', { source: 'https://git.example/Team/App.git' }),
    app('ssh', { source: 'git@git.example:team/app', ref: 'main' }),
    app('tag', { source: 'https://git.example/team/app', ref: 'refs/tags/v1' }),
    app('branch', { source: 'https://git.example/team/app', ref: 'next' }),
    app('manual', { source: 'https://git.example/team/app', auto_sync: false }),
    app('other', { source: 'https://git.example/team/other' }),
    app('image', { image: 'i:1', auto_sync: false }),
  );
  const repository = {
    clone_url: 'https://git.example/team/app.git',
    ssh_url: 'git@git.example:team/app.git',
    default_branch: 'main',
  };
  const appsOf = async (response: Promise<Response>): Promise<unknown> => {
    const answer = await response;
    assert.equal(answer.status, 202);
    return ((await answer.json()) as { apps: unknown }).apps;
  };
  const main = JSON.stringify({ ref: 'refs/heads/main', repository });
  assert.deepEqual(await appsOf(hook(bench, main)), ['https', 'ssh']);
  assert.deepEqual(await appsOf(hook(bench, JSON.stringify({ ref: 'refs/heads/next', repository }))), ['branch']);
  assert.deepEqual(await appsOf(hook(bench, JSON.stringify({ ref: 'refs/tags/v1', repository }))), ['tag']);
  assert.deepEqual(await appsOf(hook(bench, JSON.stringify({ zen: 'ping', repository }))), []);
  assert.deepEqual(await appsOf(hook(bench, main, { path: '/hooks/git/manual' })), ['manual']);
  assert.deepEqual(await appsOf(hook(bench, main, { path: '/hooks/git/image' })), []);
  const form = new URLSearchParams({ payload: main }).toString();
  assert.deepEqual(await appsOf(hook(bench, form, { type: 'application/x-www-form-urlencoded' })), ['https', 'ssh']);
  assert.deepEqual(bench.looked, [['https', 'ssh'], ['branch'], ['tag'], [], ['manual'], [], ['https', 'ssh']]);
});

void test('a webhook without the right signature, or too long, or no push at all, has nothing looked at', async (t) => {
  const bench = await createBench(t);
  const body = JSON.stringify({ ref: 'refs/heads/main' });
  const wrong = `sha256=${createHmac('sha256', 'other').update(body).digest('hex')}`;
  const long = 'x'.repeat(1024 ** 2 + 1);
  for (const [answer, status, code] of [
    [() => hook(bench, body, { signature: wrong }), 401, 'webhook_denied'],
    [() => hook(bench, body, { signature: '' }), 401, 'webhook_denied'],
    [() => hook(bench, body, { signature: 'sha256=abcd' }), 401, 'webhook_denied'],
    [() => hook(bench, 'no json'), 400, 'invalid_request'],
    [() => hook(bench, long), 413, 'frame_too_large'],
    [() => hook(bench, body, { path: '/hooks/other' }), 404, 'method_not_found'],
    [() => fetch(`${bench.url}/hooks/git`), 405, 'invalid_request'],
  ] as const) {
    const response = await answer();
    assert.deepEqual([response.status, await codeOf(response)], [status, code]);
  }
  assert.deepEqual(bench.looked, []);
  assert.deepEqual(
    [...new Set(bench.audited)],
    ['webhook webhook_denied', 'webhook invalid_request', 'webhook frame_too_large'],
  );
});
