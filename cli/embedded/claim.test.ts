import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { claimFolder } from './claim.ts';

async function folder(t: TestContext): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'holdfast-claim-'));
  t.after(() => rm(made, { recursive: true, force: true }));
  return made;
}

test('a folder is claimed by one, and free again after release', async (t) => {
  const path = await folder(t);
  const claim = await claimFolder(path);
  await assert.rejects(claimFolder(path), {
    name: 'UsageError',
    message: /Holdfast is already running in this folder \(process \d+\)/,
  });
  await claim.release();
  assert.deepEqual(await readdir(path), []);
  await (await claimFolder(path)).release();
});

test('a claim left by a crash is taken over, though its process id and port are used by others', async (t) => {
  const path = await folder(t);
  const other = await claimFolder(await folder(t));
  t.after(() => other.release());
  await writeFile(join(path, 'start.json'), JSON.stringify({ pid: process.pid, port: 1 }));
  await (await claimFolder(path)).release();
  await writeFile(join(path, 'start.json'), 'not JSON');
  await (await claimFolder(path)).release();
});

test('of several that start at once one has the folder', async (t) => {
  const path = await folder(t);
  const results = await Promise.allSettled([1, 2, 3, 4].map(() => claimFolder(path)));
  const claims = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  assert.equal(claims.length, 1);
  await claims[0]?.release();
});
