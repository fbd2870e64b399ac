import assert from 'node:assert/strict';
import { test } from 'node:test';
import { circles } from './circles.ts';
import { layers } from './layers.ts';
import { readSourceFile } from './source-file.ts';
import { violations } from './violations.ts';

const rules = {
  layers: [
    { path: 'shared', mayImport: [] },
    { path: 'router/io', mayImport: [] },
    { path: 'router/client', mayImport: ['router/io'] },
    { path: 'router/*.ts', mayImport: ['router/io', 'router/client'] },
    { path: 'router/main.ts', mayImport: ['router/*.ts'] },
  ],
  readsEnvironment: ['router/main.ts'],
};

/** @param tree path → text of a file. */
function judge(tree: Readonly<Record<string, string>>): string[] {
  return violations(
    Object.entries(tree).map(([path, text]) => readSourceFile(path, text)),
    rules,
  );
}

test('a tree that keeps to the layers has no violations', () => {
  assert.deepEqual(
    judge({
      'shared/errors.ts': `import manifest from '../package.json' with { type: 'json' };`,
      'router/io/bytes.ts': `import { setTimeout } from 'node:timers';\nimport { AppError } from '../../shared/errors.ts';`,
      'router/client/server.ts': `import type { Bytes } from '../io/bytes.ts';`,
      'router/client/server.test.ts': `import { kit } from '../testing/kit.ts';\nsignal.addEventListener('abort', leave);`,
      'router/testing/kit.ts': `import { startRouter } from '../router.ts';\nprocess.env.PORT;`,
      'router/router.ts': `export { serve } from './client/server.ts';`,
      'router/main.ts': `import { startRouter } from './router.ts';\nprocess.env['PORT'];`,
    }),
    [],
  );
});

test('values, types, re-exports and dynamic imports count alike', () => {
  for (const text of [
    `import { serve } from '../client/server.ts';`,
    `import type { Server } from '../client/server.ts';`,
    `import { type Server } from '../client/server.ts';`,
    `import '../client/server.ts';`,
    `export * from '../client/server.ts';`,
    `export type { Server } from '../client/server.ts';`,
    `const { serve } = await import('../client/server.ts');`,
    `let server: import('../client/server.ts').Server;`,
  ]) {
    assert.deepEqual(
      judge({ 'router/io/bytes.ts': text }),
      ['layers: router/io/bytes.ts -> router/client/server.ts'],
      text,
    );
  }
});

test('comments and strings do not count', () => {
  const text = `// import '../client/server.ts'\nconst text = "import '../client/server.ts'; process.env";`;
  assert.deepEqual(judge({ 'router/io/bytes.ts': text }), []);
});

test('a program imports no other program, and shared imports none', () => {
  assert.deepEqual(
    judge({
      'router/io/bytes.ts': `import '../../agent/main.ts';`,
      'shared/errors.ts': `import '../router/io/bytes.ts';`,
    }),
    ['layers: router/io/bytes.ts -> agent/main.ts', 'layers: shared/errors.ts -> router/io/bytes.ts'],
  );
});

test('a file outside every layer is reported', () => {
  assert.deepEqual(judge({ 'router/stray/file.ts': '' }), ['no layer: router/stray/file.ts']);
});

test('production code imports neither kits nor tests', () => {
  assert.deepEqual(
    judge({
      'router/router.ts': `import './testing/kit.ts';\nimport '../test/support/load.ts';\nimport './router.test.ts';`,
    }),
    [
      'test code: router/router.ts -> router/router.test.ts',
      'test code: router/router.ts -> router/testing/kit.ts',
      'test code: router/router.ts -> test/support/load.ts',
    ],
  );
});

test('the environment, abort listeners and timers are for the places that have them', () => {
  assert.deepEqual(
    judge({
      'router/router.ts': `const { PORT } = process.env;\nsignal.addEventListener('abort', leave);\nimport 'node:timers/promises';`,
      'shared/wait/abort.ts': `signal.addEventListener('abort', leave);\nimport 'node:timers/promises';`,
    }),
    [
      "addEventListener('abort'): router/router.ts",
      'node:timers/promises: router/router.ts',
      'process.env: router/router.ts',
    ],
  );
});

test('a circle of types is a circle', () => {
  assert.deepEqual(
    judge({
      'router/io/a.ts': `import type { B } from './b.ts';`,
      'router/io/b.ts': `import type { A } from './a.ts';`,
    }),
    ['circle: router/io/a.ts router/io/b.ts'],
  );
});

test('every circle is found, and nothing that only leads to one', () => {
  const imports = {
    start: ['a'],
    a: ['b', 'end'],
    b: ['c'],
    c: ['a', 'd'],
    d: ['e'],
    e: ['d'],
    self: ['self'],
    end: [],
  };
  assert.deepEqual(circles(new Map(Object.entries(imports))), [['a', 'b', 'c'], ['d', 'e'], ['self']]);
});

test('a layer imports only layers that stand before it', () => {
  const before = new Set<string>();
  for (const { path, mayImport } of layers) {
    assert.deepEqual(
      mayImport.filter((other) => !before.has(other)),
      [],
      path,
    );
    before.add(path);
  }
});
