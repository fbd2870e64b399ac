import assert from 'node:assert/strict';
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultSourceLimits } from './limits.ts';
import { walkTree } from './tree-walk.ts';

void test('links inside a folder are taken also where the folder itself is reached by a link', async (t) => {
  const place = await realpath(await mkdtemp(join(tmpdir(), 'holdfast-walk-')));
  t.after(() => rm(place, { recursive: true, force: true }));
  await mkdir(join(place, 'real', 'sub'), { recursive: true });
  await writeFile(join(place, 'real', 'file'), 'x');
  await writeFile(join(place, 'outside'), 'x');
  await symlink('../file', join(place, 'real', 'sub', 'link'));
  await symlink('nowhere', join(place, 'real', 'dangling'));
  await symlink('real', join(place, 'alias'));
  const walk = (root: string) => walkTree({ root, limits: defaultSourceLimits, signal: new AbortController().signal });
  const direct = await walk(join(place, 'real'));
  assert.deepEqual(await walk(join(place, 'alias')), direct);
  assert.deepEqual(direct.links.map(({ target }) => target).toSorted(), ['../file', 'nowhere']);
  // The link may still lead out by its real path.
  await symlink(join(place, 'real', 'file'), join(place, 'real', 'absolute'));
  await symlink('../outside', join(place, 'real', 'out'));
  await assert.rejects(walk(join(place, 'alias')), { code: 'source_invalid' });
});
