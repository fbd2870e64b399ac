/** Uploads on a real Postgres, and both kinds of sources on top of it. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { createSources } from '../../../agent/source/create-sources.ts';
import type { Sources } from '../../../agent/source/sources.ts';
import { createUploads, type Uploads } from '../../../agent/source/uploads.ts';
import type { Database } from '../../../agent/store/database.ts';
import { migrate } from '../../../agent/store/migrate.ts';
import { createUploadStore, type UploadStore } from '../../../agent/store/upload-store.ts';
import { systemClock } from '../../../shared/wait/clock.ts';
import { silentLog } from '../../../shared/log.ts';
import { defaultSourceLimits } from '../../../shared/source/limits.ts';
import { packFolder } from '../../../shared/source/pack.ts';
import { openTestDatabase } from '../database.ts';

const never = new AbortController().signal;
const partBytes = 1024 ** 2;

interface Bench {
  readonly db: Database;
  readonly store: UploadStore;
  readonly uploads: Uploads;
  readonly folder: string;
}

async function createBench(t: TestContext): Promise<Bench> {
  const db = await openTestDatabase(t);
  await migrate(db);
  const store = createUploadStore({ db });
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-uploads-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return { db, store, uploads: createUploads({ store, limits: defaultSourceLimits, clock: systemClock }), folder };
}

async function sourcesOf(t: TestContext, { store, folder }: Bench): Promise<Sources> {
  const sources = await createSources({
    config: { max_bytes: 512 * 1024 ** 2, max_files: 50_000, fetch_timeout_secs: 60, allow_file_urls: true },
    auths: [],
    uploads: store,
    // `data_dir` may be such a path.
    cacheDir: relative(process.cwd(), join(folder, 'cache')),
    env: process.env,
    log: silentLog,
    clock: systemClock,
  });
  t.after(() => sources.close());
  return sources;
}

/** Packs the folder `files` of the bench. */
async function packed({ folder }: Bench): Promise<{ archive: string; data: Buffer }> {
  const file = join(folder, 'archive.tar.gz');
  await rm(file, { force: true });
  const { archive } = await packFolder({
    root: join(folder, 'files'),
    file,
    limits: defaultSourceLimits,
    signal: never,
  });
  return { archive, data: await readFile(file) };
}

async function upload(bench: Bench): Promise<string> {
  const { archive, data } = await packed(bench);
  const { missing } = await bench.uploads.begin(archive, data.length, 'ci');
  for (const part of missing)
    await bench.store.put(archive, part, data.subarray(part * partBytes, (part + 1) * partBytes));
  return (await bench.uploads.complete(archive, never)).source;
}

test('an archive of several parts comes back as it was, whatever order they came in', async (t) => {
  const { store } = await createBench(t);
  const data = randomBytes(2 * partBytes + 17);
  const archive = createHash('sha256').update(data).digest('hex');
  const begun = await store.begin(archive, data.length, 'ci');
  assert.deepEqual(begun, { bytes: data.length, partBytes, tree: undefined });
  assert.deepEqual(await store.missing(archive, begun), [0, 1, 2]);
  for (const part of [2, 0, 0]) await store.put(archive, part, data.subarray(part * partBytes, (part + 1) * partBytes));
  assert.deepEqual(await store.missing(archive, await store.begin(archive, data.length, 'ci')), [1]);
  await store.put(archive, 1, data.subarray(partBytes, 2 * partBytes));
  const read: Buffer[] = [];
  for await (const part of store.read(archive)) read.push(part);
  assert.ok(Buffer.concat(read).equals(data));
  await store.put('0'.repeat(64), 0, Buffer.alloc(1));
  assert.equal(await store.get('0'.repeat(64)), undefined);
});

test('no more than 64 uploads are unfinished, 32 of one token, and one that is there can always go on', async (t) => {
  const { store } = await createBench(t);
  const name = (index: number): string => createHash('sha256').update(String(index)).digest('hex');
  for (let index = 0; index < 32; index += 1) await store.begin(name(index), 10, 'ci');
  await assert.rejects(store.begin(name(32), 10, 'ci'), { code: 'too_many_calls', message: /of this token/ });
  for (let index = 32; index < 64; index += 1) await store.begin(name(index), 10, 'other');
  await assert.rejects(store.begin(name(64), 10, 'third'), { code: 'too_many_calls' });
  await store.begin(name(0), 10, 'ci');
  await store.complete(name(0), { digest: 'sha256:x', files: 1, bytes: 1 });
  await store.begin(name(64), 10, 'third');
});

test('another token cannot end an upload by another length, and whoever began it can correct it', async (t) => {
  const { store } = await createBench(t);
  const archive = 'a'.repeat(64);
  await store.begin(archive, 10, 'ci');
  await assert.rejects(store.begin(archive, 11, 'other'), { code: 'invalid_request', message: /has 10 bytes/ });
  assert.equal((await store.get(archive))?.bytes, 10);
  assert.equal((await store.begin(archive, 12, 'ci')).bytes, 12);
  await store.complete(archive, { digest: 'sha256:x', files: 1, bytes: 1 });
  await assert.rejects(store.begin(archive, 13, 'ci'), { code: 'invalid_request' });
});

test('after a day what is unfinished goes, and what no version names; nothing else', async (t) => {
  const { db, store } = await createBench(t);
  const digestOf = (name: string): string => `sha256:${name.repeat(64)}`;
  for (const name of ['a', 'b', 'c', 'd', 'e']) await store.begin(name.repeat(64), 10, 'ci');
  for (const name of ['b', 'c', 'd'])
    await store.complete(name.repeat(64), { digest: digestOf(name), files: 1, bytes: 1 });
  await db.query(`insert into apps (name, host, path, live_version) values ('x', '', '/x', 1)`);
  await db.query(
    `insert into versions (app_id, version, spec, secrets, outcome, created_by) select id, 1, $1, '{}', 'declared', 'test' from apps`,
    [JSON.stringify({ source: `upload:${digestOf('c')}`, build: {} })],
  );
  assert.equal(await store.prune(), 0);
  await db.query(`update uploads set touched_at = now() - interval '2 days' where archive <> $1`, ['e'.repeat(64)]);
  // Asked for a moment ago: somebody is about to declare it.
  assert.equal(await store.find(digestOf('d')), true);
  assert.equal(await store.prune(), 2);
  const { rows } = await db.query<{ archive: string }>('select archive from uploads order by archive');
  assert.deepEqual(
    rows.map(({ archive }) => archive[0]),
    ['c', 'd', 'e'],
  );
});

test('an upload of an old version goes, unless that version is in use or may be gone back to', async (t) => {
  const db = await openTestDatabase(t);
  await migrate(db);
  const store = createUploadStore({ db, keepVersions: 2 });
  const digestOf = (version: number): string => `sha256:${String(version).repeat(64)}`;
  await db.query(`insert into apps (name, host, path, live_version, good_version) values ('x', '', '/x', 3, 3)`);
  for (const version of [1, 2, 3, 4, 5, 6]) {
    const archive = String(version).repeat(64);
    await store.begin(archive, 10, 'ci');
    await store.complete(archive, { digest: digestOf(version), files: 1, bytes: 1 });
    await db.query(
      `insert into versions (app_id, version, spec, secrets, outcome, created_by) select id, $1, $2, '{}', $3, 'test' from apps`,
      [version, JSON.stringify({ source: `upload:${digestOf(version)}`, build: {} }), version < 4 ? 'good' : 'failed'],
    );
  }
  await db.query(`update uploads set touched_at = now() - interval '2 days'`);
  assert.equal(await store.prune(), 2);
  const { rows } = await db.query<{ archive: string }>('select archive from uploads order by archive');
  // Live and good: 3; before that good: 2; the newest two: 5 and 6.
  assert.deepEqual(
    rows.map(({ archive }) => archive[0]),
    ['2', '3', '5', '6'],
  );
});

test('uploads that no version names are bounded in all, finished or not', async (t) => {
  const db = await openTestDatabase(t);
  await migrate(db);
  const store = createUploadStore({ db, maxLooseBytes: 100 });
  await store.begin('a'.repeat(64), 40, 'ci');
  await store.complete('a'.repeat(64), { digest: `sha256:${'a'.repeat(64)}`, files: 1, bytes: 1 });
  await store.begin('b'.repeat(64), 60, 'ci');
  await assert.rejects(store.begin('c'.repeat(64), 1, 'ci'), { code: 'too_many_calls' });
  await store.begin('a'.repeat(64), 40, 'ci');
  await db.query(`insert into apps (name, host, path, live_version) values ('x', '', '/x', 1)`);
  await db.query(
    `insert into versions (app_id, version, spec, secrets, outcome, created_by) select id, 1, $1, '{}', 'declared', 'test' from apps`,
    [JSON.stringify({ source: `upload:sha256:${'a'.repeat(64)}`, build: {} })],
  );
  await store.begin('c'.repeat(64), 1, 'ci');
});

test('the same files are the same tree by git and by upload, whole and in part, and are fetched once', async (t) => {
  const bench = await createBench(t);
  const files = join(bench.folder, 'files');
  await mkdir(join(files, 'web'), { recursive: true });
  await writeFile(join(files, 'server.js'), 'one');
  await writeFile(join(files, 'web', 'run'), 'two', { mode: 0o755 });
  const git = async (...args: string[]): Promise<string> => {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@git.example'];
    return (await promisify(execFile)('git', ['-C', files, ...identity, ...args])).stdout.trim();
  };
  await git('init', '--quiet', '--initial-branch=main');
  await git('add', '.');
  await git('commit', '--quiet', '--message=one');
  const uploaded = await upload(bench);
  const sources = await sourcesOf(t, bench);
  const bySource = new Map<string, string[]>();
  for (const source of [`file://${files}`, uploaded]) {
    const digest = await sources.resolve({ source }, never);
    const digests: string[] = [];
    for (const dir of [undefined, 'web']) {
      const trees = await Promise.all([
        sources.tree({ source, dir }, digest, never),
        sources.tree({ source, dir }, digest, never),
      ]);
      assert.equal(new Set(trees.map((tree) => tree.folder)).size, 1);
      assert.deepEqual((await readdir(trees[0].folder)).toSorted(), dir === undefined ? ['server.js', 'web'] : ['run']);
      digests.push(trees[0].digest);
      for (const tree of trees) tree.release();
    }
    bySource.set(source, digests);
  }
  const [byGit, byUpload] = [...bySource.values()];
  assert.deepEqual(byGit, byUpload);
  assert.equal(uploaded, `upload:${byUpload?.[0]}`);
  assert.equal(await sources.resolve({ source: `file://${files}` }, never), `git:${await git('rev-parse', 'HEAD')}`);
  await assert.rejects(sources.resolve({ source: `upload:sha256:${'0'.repeat(64)}` }, never), {
    code: 'source_not_found',
    message: /run `holdfast deploy` again/,
  });
  await assert.rejects(sources.tree({ source: uploaded, dir: 'none' }, uploaded.slice('upload:'.length), never), {
    code: 'source_not_found',
  });
  await assert.rejects(sources.resolve({ source: '/srv/folder' }, never), { code: 'source_unsupported' });
});

test('an agent that starts empties what one before it left on disk', async (t) => {
  const bench = await createBench(t);
  await mkdir(join(bench.folder, 'cache', 'trees', 'old'), { recursive: true });
  await mkdir(join(bench.folder, 'cache', 'work', 'git-old'), { recursive: true });
  await sourcesOf(t, bench);
  assert.deepEqual(await readdir(join(bench.folder, 'cache', 'trees')), []);
  assert.deepEqual(await readdir(join(bench.folder, 'cache', 'work')), []);
});
