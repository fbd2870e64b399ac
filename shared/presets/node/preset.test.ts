import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presetCommand, presetFiles } from '../testing/made.ts';
import { testTree } from '../testing/tree.ts';

/** Returns the instructions without comments and blank lines. */
async function dockerfileOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const { dockerfile } = await presetFiles('node', testTree(files));
  return dockerfile.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

const manifest = (value: object): Record<string, string> => ({ 'package.json': JSON.stringify(value) });
const start = { start: 'node server.js' };
const lock = { 'package-lock.json': '{}' };

void test('dependencies have a layer of their own, made of the manifests alone and without what development needs', async () => {
  assert.deepEqual(
    await dockerfileOf({ ...manifest({ scripts: start, dependencies: { a: '1' } }), ...lock, '.npmrc': '' }),
    [
      'FROM node:24-slim AS dependencies',
      'WORKDIR /app',
      'ENV PATH=/app/node_modules/.bin:$PATH',
      'COPY package.json package-lock.json .npmrc ./',
      'RUN npm ci --omit=dev --no-audit --no-fund',
      'FROM node:24-slim',
      'ENV NODE_ENV=production HOME=/tmp PORT=8080 PATH=/app/node_modules/.bin:$PATH',
      'WORKDIR /app',
      'COPY --from=dependencies /app ./',
      'COPY . ./',
      'USER 1000:1000',
      'EXPOSE 8080',
      'CMD ["node", "server.js"]',
    ],
  );
});

void test('a build script runs with everything installed, and what only it needed goes again', async () => {
  const lines = await dockerfileOf({
    ...manifest({ scripts: { ...start, build: 'tsc' }, devDependencies: { typescript: '5' } }),
    ...lock,
  });
  assert.deepEqual(lines.slice(0, 8), [
    'FROM node:24-slim AS build',
    'WORKDIR /app',
    'ENV PATH=/app/node_modules/.bin:$PATH',
    'COPY package.json package-lock.json ./',
    'RUN npm ci --no-audit --no-fund',
    'COPY . ./',
    'RUN npm run build',
    'RUN npm prune --omit=dev --no-audit --no-fund',
  ]);
  assert.equal(lines.includes('COPY --from=build /app ./'), true);
  assert.equal(lines.filter((line) => line === 'COPY . ./').length, 1);
});

void test('an app that is started by a development dependency keeps those', async () => {
  const lines = await dockerfileOf({
    ...manifest({ scripts: { start: 'tsx server.ts' }, devDependencies: { tsx: '4' } }),
    ...lock,
  });
  assert.equal(lines.includes('RUN npm ci --no-audit --no-fund'), true);
  assert.equal(
    lines.some((line) => line.includes('prune')),
    false,
  );
});

void test('scripts that run at install, and dependencies in the tree, get the tree first', async () => {
  for (const value of [
    { scripts: { ...start, postinstall: 'node x.js' }, dependencies: { a: '1' } },
    { scripts: start, dependencies: { a: 'file:./a' } },
  ]) {
    const lines = await dockerfileOf({ ...manifest(value), ...lock });
    assert.deepEqual(lines.slice(3, 5), ['COPY . ./', 'RUN npm ci --omit=dev --no-audit --no-fund']);
    assert.equal(lines.filter((line) => line === 'COPY . ./').length, 1);
  }
});

void test('the lock file says which package manager installs, and in which release', async () => {
  const app = { scripts: start, dependencies: { a: '1' } };
  const cases: [Readonly<Record<string, string>>, string][] = [
    [manifest(app), 'RUN npm install --omit=dev --no-audit --no-fund'],
    [
      { ...manifest(app), 'pnpm-lock.yaml': "lockfileVersion: '9.0'\n" },
      'RUN npx --yes --package pnpm@10 pnpm install --frozen-lockfile --prod',
    ],
    [
      { ...manifest(app), 'pnpm-lock.yaml': "lockfileVersion: '6.0'\n" },
      'RUN npx --yes --package pnpm@8 pnpm install --frozen-lockfile --prod',
    ],
    [
      { ...manifest({ ...app, packageManager: 'pnpm@9.1.0+sha512.ab' }), 'pnpm-lock.yaml': '' },
      'RUN npx --yes --package pnpm@9.1.0 pnpm install --frozen-lockfile --prod',
    ],
    [
      { ...manifest(app), 'yarn.lock': '# yarn lockfile v1\n' },
      'RUN npx --yes --package yarn@1 yarn install --non-interactive --frozen-lockfile --production',
    ],
    [
      { ...manifest(app), 'yarn.lock': '__metadata:\n  version: 8\n' },
      'RUN npx --yes --package @yarnpkg/cli-dist@4 yarn workspaces focus --all --production',
    ],
    [
      { ...manifest({ ...app, packageManager: 'yarn@4.5.0;rm' }), 'yarn.lock': '__metadata:\n' },
      'RUN npx --yes --package @yarnpkg/cli-dist@4.5.0 yarn workspaces focus --all --production',
    ],
  ];
  for (const [files, line] of cases) assert.equal((await dockerfileOf(files)).includes(line), true, line);
});

void test('the manifests of workspaces are copied first, and the one that starts is the app', async () => {
  const lines = await dockerfileOf({
    ...manifest({ workspaces: ['packages/*', 'tools'] }),
    ...lock,
    'packages/web/package.json': JSON.stringify({ scripts: start, dependencies: { a: '1' } }),
    'packages/lib/package.json': '{}',
    'tools/package.json': '{}',
    'packages/notes.txt': '',
  });
  assert.deepEqual(lines.slice(3, 8), [
    'COPY package.json package-lock.json ./',
    'COPY packages/lib/package.json ./packages/lib/',
    'COPY packages/web/package.json ./packages/web/',
    'COPY tools/package.json ./tools/',
    'RUN npm ci --omit=dev --no-audit --no-fund',
  ]);
  assert.deepEqual(lines.slice(-4), [
    'WORKDIR /app/packages/web',
    'USER 1000:1000',
    'EXPOSE 8080',
    'CMD ["node", "server.js"]',
  ]);
  const pnpm = await dockerfileOf({
    ...manifest({ scripts: start }),
    'pnpm-lock.yaml': "lockfileVersion: '9.0'\n",
    'pnpm-workspace.yaml': 'packages:\n  - \'apps/*\' # all\n  - "lib"\nother: 1\n',
    'apps/a/package.json': '{}',
    'lib/package.json': '{}',
  });
  assert.deepEqual(pnpm.filter((line) => line.startsWith('COPY ')).slice(1, 3), [
    'COPY apps/a/package.json ./apps/a/',
    'COPY lib/package.json ./lib/',
  ]);
  await assert.rejects(
    dockerfileOf({
      ...manifest({ workspaces: ['a', 'b'] }),
      'a/package.json': JSON.stringify({ scripts: start }),
      'b/package.json': JSON.stringify({ scripts: start }),
    }),
    { code: 'dockerfile_invalid', message: /several workspaces/ },
  );
});

void test('a start is run without npm and, where it can be, without a shell, so that SIGTERM reaches the app', async () => {
  const cases: [Readonly<Record<string, string>>, readonly string[]][] = [
    [{ start: 'node  a.js --port=1' }, ['node', 'a.js', '--port=1']],
    [{ start: 'NODE_ENV=production node a.js' }, ['env', 'NODE_ENV=production', 'node', 'a.js']],
    [{ start: 'npm run serve', serve: 'yarn deep', deep: 'node b.js' }, ['node', 'b.js']],
    [
      { start: 'npm run migrate && npm run serve', serve: 'node b.js' },
      ['sh', '-c', 'npm run migrate && exec node b.js'],
    ],
    [{ start: 'cd lib && node b.js' }, ['sh', '-c', 'cd lib && exec node b.js']],
    [{ start: 'cd lib' }, ['sh', '-c', 'cd lib']],
    [{ start: 'node a.js | tee "x && y"' }, ['sh', '-c', 'node a.js | tee "x && y"']],
    [{ start: 'npm run start' }, ['npm', 'run', 'start']],
  ];
  for (const [scripts, argv] of cases) {
    const command = await presetCommand('node', testTree(manifest({ scripts })));
    assert.deepEqual(command.run, argv);
  }
});

void test('nothing of a manifest can become an instruction', async () => {
  const lines = await dockerfileOf({ ...manifest({ main: 'a\nRUN evil.js' }), 'a\nRUN evil.js': '' });
  assert.equal(lines.at(-1), 'CMD ["node", "a\\nRUN evil.js"]');
});

void test('without an image what is there is taken as it is: nothing is installed that is not required, or that is there', async () => {
  const files = { ...manifest({ scripts: start, dependencies: { a: '1' } }), ...lock };
  assert.deepEqual((await presetCommand('node', testTree(files))).install, [
    ['npm', 'ci', '--omit=dev', '--no-audit', '--no-fund'],
  ]);
  assert.deepEqual(
    (await presetCommand('node', testTree({ ...files, 'node_modules/a/package.json': '{}' }))).install,
    [],
  );
  assert.deepEqual(
    (await presetCommand('node', testTree(manifest({ scripts: start, devDependencies: { eslint: '9' } })))).install,
    [],
  );
  const built = manifest({ scripts: { ...start, build: 'node build.js' } });
  assert.deepEqual((await presetCommand('node', testTree(built))).install, [['npm', 'run', 'build']]);
});
