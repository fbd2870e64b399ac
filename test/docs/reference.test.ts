import assert from 'node:assert/strict';
import { access, readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { readAppFile } from '../../cli/app-file.ts';
import { referenceDocs } from './reference.ts';

const root = new URL('../../', import.meta.url);

test('the generated parts of the docs are up to date', async () => {
  for (const { url, is, should } of await referenceDocs()) {
    assert.equal(is, should, `${url.pathname} is old: run \`npm run docs\``);
  }
});

test('files and folders that the README names exist', async () => {
  const text = await readFile(new URL('README.md', root), 'utf8');
  const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => match[1] ?? '');
  assert.ok(links.length > 10);
  for (const link of links) await access(new URL(link, root));
});

test('the app files in the docs are valid', async () => {
  const text = await readFile(new URL('docs/app-file.md', root), 'utf8');
  const examples = [...text.matchAll(/```toml\n([\s\S]*?)```/g)].map((match) => match[1] ?? '');
  assert.ok(examples.length >= 3);
  for (const example of examples) {
    const readFile = (path: string): string => (path.endsWith('apps.toml') ? example : 'a secret');
    readAppFile(
      { file: '/docs/apps.toml', env: new Proxy({}, { get: () => 'a secret' }), readFile },
      { env: ['*'], files: ['/'] },
    );
  }
});
