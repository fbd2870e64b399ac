import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presetFiles } from '../testing/made.ts';
import { testTree } from '../testing/tree.ts';

const evil = 'x\nRUN evil #';

async function instructions(name: 'node' | 'python', files: Readonly<Record<string, string>>): Promise<string[]> {
  const { dockerfile } = await presetFiles(name, testTree(files), 'optional');
  return dockerfile.split('\n').map((line) => line.split(' ', 1)[0] ?? '');
}

void test('a name of a file or folder becomes no instruction, whatever is in it', async () => {
  const python = await instructions('python', { [`${evil}.py`]: '' });
  const known = new Set(['', '#', 'FROM', 'ENV', 'WORKDIR', 'COPY', 'USER', 'EXPOSE', 'CMD', 'RUN']);
  assert.deepEqual(
    python.filter((word) => !known.has(word) || word === 'RUN'),
    [],
  );
  const node = await instructions('node', {
    'package.json': JSON.stringify({ workspaces: ['packages/*'] }),
    [`packages/${evil}/package.json`]: JSON.stringify({ scripts: { start: 'node x.js' } }),
    [`packages/${evil}/x.js`]: '',
  });
  assert.deepEqual(
    node.filter((word) => !known.has(word)),
    [],
  );
  assert.ok(node.filter((word) => word === 'RUN').length <= 1, 'npm alone');
});

void test('a requirement that is none is refused: it could be an option of pip or an instruction', async () => {
  for (const one of ['--index-url=https://evil.example', evil, '-r/etc/passwd', '']) {
    const files = { 'app.py': '', 'pyproject.toml': `[project]\ndependencies = [${JSON.stringify(one)}]` };
    await assert.rejects(presetFiles('python', testTree(files)), { code: 'dockerfile_invalid' }, JSON.stringify(one));
  }
});
