import assert from 'node:assert/strict';
import { access, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import type { UnpackedTree } from '../../shared/source/unpack.ts';
import { createTreeCache, type TreeCache } from './tree-cache.ts';

const never = new AbortController().signal;

async function createBench(
  t: TestContext,
  { maxBytes = 1_000_000, maxAtOnce = 4 } = {},
): Promise<{ cache: TreeCache; folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-cache-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'left-over'), '');
  const cache = await createTreeCache({ folder, maxBytes, maxAtOnce, log: silentLog });
  t.after(() => cache.close());
  return { cache, folder };
}

function made(bytes = 1_000): (target: string) => Promise<UnpackedTree> {
  return async (target) => {
    await mkdir(target);
    return { digest: 'sha256:x', files: 0, bytes };
  };
}

void test('concurrent requests share one tree, which is made again only after it was evicted', async (t) => {
  const { cache, folder } = await createBench(t, { maxBytes: 1_500 });
  let times = 0;
  const make = (target: string): Promise<UnpackedTree> => {
    times += 1;
    return made()(target);
  };
  const trees = await Promise.all(Array.from({ length: 5 }, () => cache.get('a', make, never)));
  assert.deepEqual([times, new Set(trees.map((tree) => tree.folder)).size], [1, 1]);
  for (const tree of trees) tree.release();
  const again = await cache.get('a', make, never);
  assert.equal(times, 1);
  // In use: it stays, whatever there is room for.
  const other = await cache.get('b', made(), never);
  await access(again.folder);
  again.release();
  again.release();
  other.release();
  const third = await cache.get('c', made(), never);
  await cache.close();
  assert.deepEqual(await readdir(folder), [third.folder.slice(folder.length + 1)]);
});

void test('a caller that leaves does not end the work that others wait for; the last one does', async (t) => {
  const { cache } = await createBench(t);
  const begun = Promise.withResolvers<void>();
  let finish: (() => void) | undefined;
  let aborted = 0;
  const slow = (target: string, signal: AbortSignal): Promise<UnpackedTree> =>
    new Promise((resolve, reject) => {
      finish = () => resolve(made()(target));
      signal.addEventListener('abort', () => {
        aborted += 1;
        reject(signal.reason as Error);
      });
      begun.resolve();
    });
  const first = new AbortController();
  const leaving = cache.get('a', slow, first.signal);
  const staying = cache.get('a', slow, never);
  await begun.promise;
  first.abort(new Error('left'));
  await assert.rejects(leaving, { message: 'left' });
  assert.equal(aborted, 0);
  finish?.();
  (await staying).release();

  const last = new AbortController();
  const undoing = Promise.withResolvers<void>();
  const undone = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const undoes = async (_target: string, signal: AbortSignal): Promise<UnpackedTree> => {
    signal.addEventListener('abort', () => undoing.resolve());
    started.resolve();
    await undone.promise;
    throw signal.reason;
  };
  const alone = cache.get('b', undoes, last.signal);
  await started.promise;
  last.abort(new Error('left'));
  await undoing.promise;
  // Comes while what was begun is being undone.
  const next = cache.get('b', made(), never);
  undone.resolve();
  await assert.rejects(alone, { message: 'left' });
  (await next).release();
});

void test('all waiters get a failure, which is not cached; only a bounded number of trees is made at once', async (t) => {
  const { cache } = await createBench(t, { maxAtOnce: 2 });
  const failing = (): Promise<UnpackedTree> => Promise.reject(new Error('no'));
  const both = [cache.get('a', failing, never), cache.get('a', failing, never)];
  for (const one of both) await assert.rejects(one, { message: 'no' });
  (await cache.get('a', made(), never)).release();
  let now = 0;
  let most = 0;
  const counted = async (target: string): Promise<UnpackedTree> => {
    most = Math.max(most, (now += 1));
    const tree = await made()(target);
    now -= 1;
    return tree;
  };
  const keys = Array.from({ length: 10 }, (_, index) => `k${index}`);
  for (const tree of await Promise.all(keys.map((key) => cache.get(key, counted, never)))) tree.release();
  assert.equal(most, 2);
});
