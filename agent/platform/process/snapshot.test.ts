import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, lstat, mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { once } from 'node:events';
import { test, type TestContext } from 'node:test';
import { promisify } from 'node:util';
import { appSpec } from '../../../shared/protocol/app-spec.ts';
import { createSnapshots, snapshotLimits, type SnapshotLimits, type Snapshots } from './snapshot.ts';

const never = new AbortController().signal;

interface Bench {
  readonly snapshots: Omit<Snapshots, 'take'> & { take(source: string, signal: AbortSignal): Promise<string> };
  readonly source: string;
  readonly folder: string;
  readonly taken: string[];
}

async function createBench(t: TestContext, limits: Partial<SnapshotLimits> = {}): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-snapshot-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const dataDir = join(root, 'data');
  const source = join(root, 'source');
  const folder = join(dataDir, 'sources');
  await mkdir(dataDir);
  await mkdir(join(source, 'lib'), { recursive: true });
  await writeFile(join(source, 'server.js'), 'one');
  await writeFile(join(source, 'lib', 'run'), 'two', { mode: 0o755 });
  const taken: string[] = [];
  const snapshots = await createSnapshots({
    folder,
    dataDir,
    onTaken: (digest) => taken.push(digest),
    limits: { ...snapshotLimits, ...limits },
  });
  return { snapshots: { ...snapshots, take: taking(snapshots) }, source, folder, taken };
}

const spec = appSpec.parse({ name: 'a', path: '/a', source: '/a' });

/** Takes snapshots of folders without a choice of how to build them. */
function taking(snapshots: Snapshots): Bench['snapshots']['take'] {
  return async (source, signal) => (await snapshots.take(source, spec, signal)).digest;
}

void test('a snapshot holds what the folder held, without .git and .holdfast, and stays so', async (t) => {
  const { snapshots, source } = await createBench(t);
  for (const skipped of ['.git', '.holdfast', 'lib/.git']) await mkdir(join(source, skipped));
  await writeFile(join(source, '.git', 'config'), 'secret');
  await symlink('lib/run', join(source, 'link'));
  await symlink(join(source, 'lib'), join(source, 'absolute'));
  await symlink('not-yet', join(source, 'dangling'));
  const digest = await snapshots.take(source, never);
  const copy = snapshots.find(digest);
  assert.ok(copy !== undefined);
  await writeFile(join(source, 'server.js'), 'changed');
  assert.deepEqual((await readdir(copy)).toSorted(), ['absolute', 'dangling', 'lib', 'link', 'server.js']);
  assert.deepEqual(await readdir(join(copy, 'lib')), ['run']);
  assert.equal(await readFile(join(copy, 'server.js'), 'utf8'), 'one');
  assert.equal(await readFile(join(copy, 'link'), 'utf8'), 'two');
  assert.equal(await readlink(join(copy, 'absolute')), 'lib');
  assert.equal((await lstat(join(copy, 'lib', 'run'))).mode & 0o777, 0o755);
});

void test('the digest follows content, mode, name, empty folders and links, and nothing else', async (t) => {
  const { snapshots, source } = await createBench(t);
  const digests = [await snapshots.take(source, never)];
  assert.match(digests[0] ?? '', /^sha256:[0-9a-f]{64}$/);
  await writeFile(join(source, 'server.js'), 'one');
  assert.equal(await snapshots.take(source, never), digests[0]);
  const changes = [
    () => writeFile(join(source, 'server.js'), 'two'),
    () => chmod(join(source, 'server.js'), 0o700),
    () => writeFile(join(source, 'other.js'), ''),
    () => mkdir(join(source, 'empty')),
    () => symlink('server.js', join(source, 'link')),
  ];
  for (const change of changes) {
    await change();
    digests.push(await snapshots.take(source, never));
  }
  assert.equal(new Set(digests).size, digests.length);
});

void test('many at once are one snapshot, and nothing half made is left', async (t) => {
  const { snapshots, source, folder, taken } = await createBench(t);
  const digests = await Promise.all(Array.from({ length: 8 }, () => snapshots.take(source, never)));
  assert.equal(new Set(digests).size, 1);
  assert.equal(taken.length, 8);
  assert.deepEqual(await readdir(folder), [digests[0]?.slice('sha256:'.length)]);
});

void test('links that lead out of the folder are refused, directly or by way of others, and named', async (t) => {
  const { snapshots, source, folder } = await createBench(t);
  const targets = { up: '../../secret', etc: '/etc/passwd', around: '../lib/../../secret' };
  for (const [name, target] of Object.entries(targets)) {
    await symlink(target, join(source, 'lib', name));
    await assert.rejects(snapshots.take(source, never), {
      code: 'source_invalid',
      message: new RegExp(`lib/${name} is a link`),
    });
    await rm(join(source, 'lib', name));
  }
  // By its text `deep` stays inside; by way of `up`, which is a link itself, it does not.
  await mkdir(join(source, 'a', 'b'), { recursive: true });
  await symlink('../..', join(source, 'a', 'b', 'up'));
  await symlink('a/b/up/..', join(source, 'deep'));
  await assert.rejects(snapshots.take(source, never), { code: 'source_invalid', message: /deep is a link/ });
  assert.deepEqual(await readdir(folder), []);
});

void test('pipes and sockets are refused, and named', async (t) => {
  const { snapshots, source } = await createBench(t);
  await promisify(execFile)('mkfifo', [join(source, 'pipe')]);
  await assert.rejects(snapshots.take(source, never), { code: 'source_invalid', message: /^pipe is no file/ });
  await rm(join(source, 'pipe'));
  const server = createServer().listen(join(source, 'socket'));
  t.after(() => server.close());
  await once(server, 'listening');
  await assert.rejects(snapshots.take(source, never), { code: 'source_invalid', message: /^socket is no file/ });
});

void test('a folder over a limit is refused: files, bytes, depth', async (t) => {
  for (const limits of [{ maxFiles: 2 }, { maxBytes: 5 }, { maxDepth: 0 }]) {
    const { snapshots, source, folder } = await createBench(t, limits);
    await assert.rejects(snapshots.take(source, never), { code: 'source_invalid' });
    assert.deepEqual(await readdir(folder), []);
  }
});

void test('a path that is not absolute, does not exist or is not a folder is refused', async (t) => {
  const { snapshots, source } = await createBench(t);
  for (const wrong of ['relative', join(source, 'none'), join(source, 'server.js'), '/dev/null']) {
    await assert.rejects(snapshots.take(wrong, never), { code: 'source_invalid', phase: 'source' });
  }
});

void test('a cancelled snapshot leaves nothing', async (t) => {
  const { snapshots, source, folder, taken } = await createBench(t);
  await assert.rejects(snapshots.take(source, AbortSignal.abort()), { code: 'cancelled' });
  assert.deepEqual([await readdir(folder), taken], [[], []]);
});

void test('prune removes snapshots that are not kept, and unfinished ones of an earlier agent', async (t) => {
  const { snapshots, source, folder } = await createBench(t);
  const kept = await snapshots.take(source, never);
  await writeFile(join(source, 'server.js'), 'two');
  const gone = await snapshots.take(source, never);
  await mkdir(join(folder, '.tmp-left-over'));
  assert.deepEqual(await snapshots.prune((digest) => digest === kept), [gone]);
  assert.deepEqual(await readdir(folder), [kept.slice('sha256:'.length)]);
  assert.equal(snapshots.find(gone), undefined);
  assert.equal(snapshots.find('sha256:../../etc'), undefined);
});

void test('a snapshot of a folder that holds the data folder leaves that out', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-snapshot-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  await mkdir(join(root, 'data'));
  await writeFile(join(root, 'server.js'), '');
  const snapshots = await createSnapshots({
    folder: join(root, 'data', 'sources'),
    dataDir: join(root, 'data'),
    onTaken: () => {},
  });
  const take = taking(snapshots);
  const digest = await take(root, never);
  assert.deepEqual(await readdir(snapshots.find(digest) ?? ''), ['server.js']);
  assert.equal(await take(root, never), digest);
});
