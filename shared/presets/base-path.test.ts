import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planFor } from './folder-plan.ts';
import { planRequest } from './settings.ts';
import { appSpec, type AppSpecInput } from '../protocol/app-spec.ts';
import { testTree } from './testing/tree.ts';

async function planOf(files: Readonly<Record<string, string>>, app: Partial<AppSpecInput>) {
  return planFor(testTree(files), planRequest(appSpec.parse({ name: 'a', path: '/shop', source: 'a', ...app })));
}

const fastapi = { 'requirements.txt': 'fastapi\n', 'main.py': 'from fastapi import FastAPI\napp = FastAPI()\n' };
const streamlit = { 'requirements.txt': 'streamlit\n', 'app.py': 'import streamlit as st\nst.title("x")\n' };
const site = { 'index.html': '<script src="/assets/x.js"></script>' };

test('a framework that reads its path from a variable is told it, as far as the router strips it', async () => {
  const { run, notes } = await planOf(fastapi, {});
  assert.equal(run.env['UVICORN_ROOT_PATH'], '/shop');
  assert.equal(run.env['STREAMLIT_SERVER_BASE_URL_PATH'], undefined);
  assert.deepEqual(notes ?? [], []);
  const kept = await planOf(streamlit, { path: 'team.example/a/b', config: { strip_path: false } });
  assert.equal(kept.run.env['STREAMLIT_SERVER_BASE_URL_PATH'], 'a/b');
  assert.equal(kept.run.env['UVICORN_ROOT_PATH'], undefined);
});

test('a plan for an app below a path that cannot be told says what goes wrong, and one with a host of its own says nothing', async () => {
  const [note] = (await planOf(site, {})).notes ?? [];
  assert.match(note ?? '', /^the app is below \/shop: .* Give it a host of its own/);
  for (const path of ['shop.example', '/', '*.shop.example']) {
    const { run, notes } = await planOf(site, { path });
    assert.deepEqual([notes ?? [], run.env['UVICORN_ROOT_PATH']], [[], undefined], path);
  }
});

const packageJson = (scripts: Record<string, string>, ...dependencies: string[]): string =>
  JSON.stringify({ scripts, dependencies: Object.fromEntries(dependencies.map((name) => [name, '*'])) });

/** The commands of the build, and what the author is told. */
async function pathOf(files: Readonly<Record<string, string>>, stripped = true) {
  const { build, run, notes } = await planOf(files, { config: { strip_path: stripped } });
  return {
    build: (build?.build ?? []).map(({ words }) => words.join(' ')).filter((text) => !text.startsWith('sh -c')),
    buildEnv: build?.env ?? {},
    env: run.env,
    note: (notes ?? []).find((note) => note.includes('below /shop')),
  };
}

test('the build of a site is told the path that the router strips, as its framework takes it', async () => {
  const html = { 'index.html': '<div id="root"></div>', 'public/index.html': '' };
  const vite = await pathOf({ ...html, 'package.json': packageJson({ build: 'tsc && vite build' }, 'vite') });
  assert.deepEqual([vite.build, vite.note], [['npm run build -- --base /shop/'], undefined]);
  const angular = await pathOf({ 'package.json': packageJson({ build: 'ng build' }, '@angular/core') });
  assert.deepEqual([angular.build, angular.note], [['npm run build -- --base-href /shop/'], undefined]);
  const astro = await pathOf({ 'package.json': packageJson({}, 'astro') });
  assert.deepEqual([astro.build, astro.note], [['astro build --base /shop/'], undefined]);
  const react = await pathOf({
    ...html,
    'package.json': packageJson({ build: 'react-scripts build' }, 'react-scripts'),
  });
  assert.deepEqual([react.build, react.buildEnv['PUBLIC_URL'], react.note], [['npm run build'], '/shop', undefined]);
});

test('an option goes to the framework, or its author is told to add it', async () => {
  const copied = await pathOf({ 'package.json': packageJson({ build: 'vite build && cp a dist' }, 'vite') });
  assert.deepEqual(copied.build, ['npm run build']);
  assert.match(copied.note ?? '', /add `--base \/shop\/` to its build script$/);
  const own = await pathOf({ 'package.json': packageJson({ build: 'vite build --base=/cdn/' }, 'vite') });
  assert.deepEqual([own.build, own.note], [['npm run build'], undefined]);
});

test('a framework that only its author can tell is named with the key, until it is set', async () => {
  const files = { 'package.json': packageJson({ build: 'next build' }, 'next') };
  assert.match(
    (await pathOf(files)).note ?? '',
    /set basePath to '\/shop' in next\.config, and `strip_path = false` in \[app\.config\]$/,
  );
  const set = { ...files, 'next.config.mjs': "export default { basePath: '/shop' };" };
  assert.equal((await pathOf(set, false)).note, undefined);
  assert.match((await pathOf(set, true)).note ?? '', /strip_path = false/);
  const site = {
    'package.json': packageJson({}, '@docusaurus/core'),
    'docusaurus.config.js': "module.exports = { baseUrl: '/shop/' }",
  };
  assert.equal((await pathOf(site)).note, undefined);
});

test('servers are told in their environment where they take a path that is not stripped', async () => {
  const nuxt = { 'package.json': packageJson({}, 'nuxt') };
  assert.deepEqual(
    [(await pathOf(nuxt, false)).env['NUXT_APP_BASE_URL'], (await pathOf(nuxt, false)).note],
    ['/shop/', undefined],
  );
  assert.equal((await pathOf(nuxt)).env['NUXT_APP_BASE_URL'], undefined);
  assert.match((await pathOf(nuxt)).note ?? '', /set `strip_path = false`/);
  const flask = { 'requirements.txt': 'flask\n', 'app.py': 'from flask import Flask\napp = Flask(__name__)\n' };
  assert.deepEqual(
    [(await pathOf(flask, false)).env['SCRIPT_NAME'], (await pathOf(flask, false)).note],
    ['/shop', undefined],
  );
  assert.equal((await pathOf(flask)).note, undefined, 'waitress puts the prefix before the links');
  const own = { ...flask, Procfile: 'web: gunicorn app:app\n' };
  assert.match((await pathOf(own)).note ?? '', /gunicorn tells the app its path/);
});
