import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { test } from 'node:test';
import { machineTools } from './machine-tools.ts';

void test('an upgrade of a language changes what identifies it, and another program does not', async (t) => {
  const root = await mkdtemp(join(tmpdir(), 'holdfast-tools-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  const bin = join(root, 'bin');
  await mkdir(bin);
  const env = { PATH: ['', join(root, 'missing'), bin].join(delimiter) };
  assert.deepEqual(await machineTools(env), {});
  await writeFile(join(bin, 'python3.11'), 'one');
  await symlink('python3.11', join(bin, 'python3'));
  const before = await machineTools(env);
  assert.deepEqual(Object.keys(before), ['program python3']);
  await writeFile(join(bin, 'perl'), '');
  assert.deepEqual(await machineTools(env), before);
  await rm(join(bin, 'python3'));
  await writeFile(join(bin, 'python3.12'), 'two');
  await symlink('python3.12', join(bin, 'python3'));
  assert.notDeepEqual(await machineTools(env), before);
});
