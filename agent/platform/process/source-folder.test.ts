import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { appConfig } from '../../../shared/protocol/app-config.ts';
import { appSpec, type AppSpec } from '../../../shared/protocol/app-spec.ts';
import type { Sources } from '../../source/sources.ts';
import { noPin, type VersionRun } from '../platform.ts';
import { createSnapshots } from './snapshot.ts';
import { createSourceFolders, snapshotId, type SourceFolders } from './source-folder.ts';
import { SourceUse } from './source-use.ts';

const commit = 'c0'.repeat(20);
const options = { signal: new AbortController().signal, onPhase: (): void => {} };

interface Bench {
  readonly folders: SourceFolders;
  readonly use: SourceUse;
  readonly prune: () => Promise<string[]>;
  readonly root: string;
  readonly released: () => number;
}

async function createBench(t: TestContext): Promise<Bench> {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-source-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  await mkdir(join(root, 'tree', 'web'), { recursive: true });
  await writeFile(join(root, 'tree', 'server.js'), 'fetched');
  await writeFile(join(root, 'tree', 'web', 'server.js'), 'fetched too');
  let released = 0;
  const sources: Sources = {
    resolve: () => Promise.resolve(`git:${commit}`),
    tree: ({ dir }) =>
      Promise.resolve({ folder: join(root, 'tree', dir ?? ''), digest: 'sha256:x', release: () => (released += 1) }),
    close: () => Promise.resolve(),
  };
  const use = new SourceUse();
  const snapshots = await createSnapshots({
    folder: join(root, 'sources'),
    dataDir: root,
    onTaken: (digest) => use.claim(digest),
  });
  return {
    folders: createSourceFolders({ snapshots, use, sources }),
    use,
    prune: () => snapshots.prune((id) => use.needs(id)),
    root,
    released: () => released,
  };
}

function runOf(spec: Partial<AppSpec>, sourceDigest: string): VersionRun {
  const full = appSpec.parse({ name: 'a', path: '/a', ...spec });
  return { app: 'a', version: 1, spec: full, config: appConfig.parse({}), pin: { ...noPin, sourceDigest } };
}

void test('a git source is resolved when it is declared, and fetched once when it is first run', async (t) => {
  const { folders, released, prune, use } = await createBench(t);
  const run = runOf({ source: 'https://git.example/a' }, `git:${commit}`);
  assert.equal((await folders.pin(run.spec, options.signal)).digest, run.pin.sourceDigest);
  for (let time = 0; time < 2; time += 1) {
    const { folder, id } = await folders.find(run, options);
    assert.equal(await readFile(join(folder, 'server.js'), 'utf8'), 'fetched');
    assert.equal(id, `git:${commit}`);
  }
  assert.equal(released(), 1);
  assert.deepEqual(await prune(), []);
  use.drop('a', 1);
  assert.deepEqual(await prune(), [`git:${commit}`]);
});

void test('a sub-folder has a snapshot of its own', async (t) => {
  const { folders } = await createBench(t);
  const whole = runOf({ source: 'https://git.example/a' }, `git:${commit}`);
  const part = runOf({ source: 'https://git.example/a', dir: 'web' }, `git:${commit}`);
  await folders.find(whole, options);
  const { folder } = await folders.find(part, options);
  assert.equal(await readFile(join(folder, 'server.js'), 'utf8'), 'fetched too');
  assert.notEqual(snapshotId(part.spec, part.pin.sourceDigest), snapshotId(whole.spec, whole.pin.sourceDigest));
});

void test('of a folder the sub-folder is the source', async (t) => {
  const { folders, root } = await createBench(t);
  // The data folder is left out of snapshots, so the source is elsewhere.
  const source = await mkdtemp(join(tmpdir(), 'holdfast-source-'));
  t.after(() => rm(source, { recursive: true, force: true }));
  await mkdir(join(source, 'web'));
  await writeFile(join(source, 'web', 'server.js'), 'mine');
  const { spec } = runOf({ source, dir: 'web' }, '');
  const { digest } = await folders.pin(spec, options.signal);
  const { folder } = await folders.find(runOf({ source, dir: 'web' }, digest), options);
  assert.equal(await readFile(join(folder, 'server.js'), 'utf8'), 'mine');
  assert.ok(folder.startsWith(root));
});
