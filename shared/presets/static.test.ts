import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presetCommand, presetFiles } from './testing/made.ts';
import { testTree } from './testing/tree.ts';

void test('files are served by nginx without root, on PORT, with everything it writes under /tmp', async () => {
  const { dockerfile, files } = await presetFiles('static', testTree({ 'dist/index.html': '' }));
  assert.match(dockerfile, /cp -R \/src\/dist\/\. \/site\//);
  assert.match(dockerfile, /^USER 101:101$/m);
  assert.match(dockerfile, /^STOPSIGNAL SIGQUIT$/m);
  assert.match(dockerfile, /exec nginx -c \/tmp\/nginx\.conf/);
  const config = files['nginx.holdfast.conf'] ?? '';
  assert.match(config, /listen __PORT__;/);
  for (const path of config.matchAll(/^\s*(?:pid|\w+_temp_path) (\S+);$/gm)) assert.match(path[1] ?? '', /^\/tmp\//);
});

void test('a package.json with a build and no start is a site that is built first', async () => {
  const tree = testTree({
    'package.json': JSON.stringify({ scripts: { build: 'vite build' }, devDependencies: { vite: '7' } }),
    'package-lock.json': '',
    'index.html': '',
  });
  const { dockerfile, files } = await presetFiles('static', tree);
  assert.match(dockerfile, /^FROM node:24-slim AS build$/m);
  assert.match(dockerfile, /^RUN npm run build$/m);
  assert.doesNotMatch(dockerfile, /prune/);
  assert.match(dockerfile, /^COPY --from=build \/app \/src$/m);
  assert.match(files['.dockerignore'] ?? '', /node_modules/);
  const command = await presetCommand('static', tree);
  assert.deepEqual(command.install.slice(0, 2), [
    ['npm', 'ci', '--no-audit', '--no-fund'],
    ['npm', 'run', 'build'],
  ]);
  assert.deepEqual(command.serves, ['dist', 'build', 'out'], 'the output of Vite first; its public has sources');
});
