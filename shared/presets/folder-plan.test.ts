import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PresetName } from '../protocol/build-settings.ts';
import { detectPreset, presetFiles } from './testing/made.ts';
import { planFor } from './folder-plan.ts';
import { emptyRequest } from './plan.ts';
import { testTree } from './testing/tree.ts';

const json = (value: unknown): string => JSON.stringify(value);
const started = json({ scripts: { start: 'node server.js' } });
const tools = json({ devDependencies: { prettier: '^3' } });

void test('the preset is chosen by what can be started, and a package.json that is only for tools decides last', async () => {
  const cases: [Readonly<Record<string, string>>, PresetName | undefined][] = [
    [{ 'package.json': started }, 'node'],
    [{ 'package.json': started, 'go.mod': '', 'index.html': '' }, 'node'],
    [{ 'server.js': '', 'app.py': '' }, 'node'],
    [{ 'index.js': '' }, 'node'],
    [{ 'index.js': '', 'index.html': '' }, 'static'],
    [{ 'package.json': tools, 'go.mod': '' }, 'go'],
    [{ 'package.json': tools, 'requirements.txt': '' }, 'python'],
    [{ 'pyproject.toml': '' }, 'python'],
    [{ 'main.py': '' }, 'python'],
    [{ 'package.json': tools, 'index.html': '' }, 'static'],
    [{ 'public/index.html': '' }, 'static'],
    [{ 'package.json': json({ scripts: { build: 'vite build' } }), 'index.html': '' }, 'static'],
    [{ 'package.json': tools }, 'node'],
    [{ 'README.md': '' }, undefined],
    [{}, undefined],
  ];
  for (const [files, preset] of cases) assert.equal(await detectPreset(testTree(files)), preset, json(files));
});

void test('a folder that lacks what a preset needs is refused with what to add', async () => {
  const cases: [PresetName, Readonly<Record<string, string>>, RegExp][] = [
    ['node', { 'package.json': tools }, /"start" script/],
    ['python', { 'requirements.txt': 'flask' }, /app\.py/],
    [
      'python',
      { 'pyproject.toml': '[tool.poetry.dependencies]\npython = "^3"\nflask = "^3"', 'app.py': '' },
      /poetry lock/,
    ],
    ['go', {}, /go mod init/],
    ['go', { 'go.mod': 'module x\n' }, /package main/],
    ['static', {}, /index\.html/],
  ];
  for (const [preset, files, message] of cases) {
    await assert.rejects(presetFiles(preset, testTree(files)), { code: 'dockerfile_invalid', phase: 'build', message });
  }
  await assert.rejects(presetFiles('node', testTree({ 'package.json': '{' })), { code: 'source_invalid' });
  await assert.rejects(presetFiles('python', testTree({ 'pyproject.toml': '[', 'app.py': '' })), {
    code: 'source_invalid',
  });
  await assert.rejects(planFor(testTree({}), emptyRequest), { code: 'dockerfile_invalid', message: /Dockerfile/ });
});

const everyPreset: [PresetName, Readonly<Record<string, string>>][] = [
  ['node', { 'package.json': json({ scripts: { start: 'node a.js', build: 'tsc' }, dependencies: { a: '1' } }) }],
  ['python', { 'requirements.txt': 'fastapi\n', 'main.py': 'from fastapi import FastAPI\napp = FastAPI()\n' }],
  ['go', { 'go.mod': 'module x\n\nrequire a v1\n', 'main.go': 'package main' }],
  ['static', { 'index.html': '' }],
];

void test('every Dockerfile has a numeric user, a port, an exec form command, and nothing that only BuildKit builds', async () => {
  for (const [preset, files] of everyPreset) {
    const { dockerfile, files: extra } = await presetFiles(preset, testTree(files));
    const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    assert.match(last, /^USER [1-9]\d*:[1-9]\d*$/m);
    assert.match(last, /^ENV .*\bPORT=8080\b/m);
    assert.match(last, /^EXPOSE 8080$/m);
    assert.match(last, /^CMD \[.*\]$/m);
    assert.doesNotMatch(dockerfile, /<<|--mount|--link|--chmod|^# syntax|\$\{?HTTPS?_PROXY/im);
    assert.match(extra['.dockerignore'] ?? '', /^\.git$/m);
    assert.match(extra['.dockerignore'] ?? '', /^\*\*\/\.env$/m);
  }
});

void test('a .dockerignore that is there stays, and the same tree gives the same files', async () => {
  for (const [preset, files] of everyPreset) {
    const tree = testTree({ ...files, '.dockerignore': 'x\n' });
    const made = await presetFiles(preset, tree);
    assert.equal(Object.hasOwn(made.files, '.dockerignore'), false);
    assert.deepEqual(await presetFiles(preset, tree), made);
  }
});
