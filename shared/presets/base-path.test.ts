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
