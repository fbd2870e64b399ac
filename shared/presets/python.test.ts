import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presetCommand, presetFiles } from './testing/made.ts';
import { testTree } from './testing/tree.ts';

async function dockerfileOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const { dockerfile } = await presetFiles('python', testTree(files));
  return dockerfile.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

const flask = 'from flask import Flask\n\napp = Flask(__name__)\n';

void test('requirements are installed into a venv in a stage of their own, by their manifests alone', async () => {
  assert.deepEqual(await dockerfileOf({ 'requirements.txt': 'Flask==3.1\n', 'app.py': flask }), [
    'FROM python:3.13-slim AS dependencies',
    'WORKDIR /app',
    'ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/app/.holdfast-venv/bin:$PATH',
    'COPY requirements.txt ./',
    'RUN python3 -m venv .holdfast-venv',
    'RUN pip install -r requirements.txt gunicorn',
    'FROM python:3.13-slim',
    'ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=. FORWARDED_ALLOW_IPS=* HOLDFAST_HOST=0.0.0.0 HOME=/tmp PORT=8080 PATH=/app/.holdfast-venv/bin:$PATH',
    'WORKDIR /app',
    'COPY --from=dependencies /app/.holdfast-venv ./.holdfast-venv/',
    'COPY . ./',
    'USER 1000:1000',
    'EXPOSE 8080',
    `CMD ["sh", "-c", "exec gunicorn --bind $HOLDFAST_HOST:\${PORT:-8080} --threads 8 'app:app'"]`,
  ]);
});

void test('flask, fastapi and streamlit are found by what is required and what the entry file makes of it', async () => {
  const cases: [Readonly<Record<string, string>>, RegExp][] = [
    [
      { 'requirements.txt': 'flask\ngunicorn', 'src/main.py': 'import flask\nweb: flask.Flask = flask.Flask("x")\n' },
      /gunicorn .* 'main:web'/,
    ],
    [{ 'requirements.txt': 'flask', 'app.py': 'def create_app():\n  pass\n' }, /gunicorn .* 'app:create_app\(\)'/],
    [
      { 'requirements.txt': 'fastapi[standard]>=0.1', 'app/main.py': 'api = FastAPI(title="x")\n' },
      /uvicorn .* app\.main:api/,
    ],
    [
      { 'requirements.txt': 'streamlit', 'streamlit_app.py': 'import streamlit as st\n' },
      /streamlit run .* streamlit_app\.py/,
    ],
    [{ 'requirements.txt': 'requests', 'main.py': 'app = FastAPI()\n' }, /^CMD \["python3", "main\.py"\]$/],
    [{ 'requirements.txt': 'fastapi', 'main.py': 'import helper\n' }, /^CMD \["python3", "main\.py"\]$/],
    [{ 'app.py': flask }, /^CMD \["python3", "app\.py"\]$/],
  ];
  for (const [files, command] of cases) {
    const last = (await dockerfileOf(files)).at(-1) ?? '';
    assert.match(last, command);
    assert.doesNotMatch(last, /"sh", "-c", "(?!exec )/);
  }
});

void test('what is locked is installed as it is locked', async () => {
  const project = '[project]\nname = "x"\ndependencies = ["fastapi>=0.1", "Requests"]\n';
  const main = { 'main.py': 'from fastapi import FastAPI\napp = FastAPI()\n' };
  const installed = async (files: Readonly<Record<string, string>>): Promise<string[]> =>
    (await dockerfileOf({ ...files, ...main })).filter((line) =>
      /^(COPY|RUN) (?!python3 -m venv \.holdfast-venv|--from|\. )/.test(line),
    );
  assert.deepEqual(await installed({ 'pyproject.toml': project }), [
    'COPY pyproject.toml ./',
    "RUN pip install 'fastapi>=0.1' Requests uvicorn",
  ]);
  assert.deepEqual(await installed({ 'pyproject.toml': project, 'uv.lock': '' }), [
    'COPY pyproject.toml uv.lock ./',
    'RUN python3 -m venv .holdfast-tools',
    'RUN .holdfast-tools/bin/pip install uv',
    'RUN .holdfast-tools/bin/uv export --frozen --no-dev --no-emit-project --no-hashes --output-file .holdfast-requirements.txt',
    'RUN pip install -r .holdfast-requirements.txt uvicorn',
  ]);
  assert.deepEqual(
    (await installed({ 'pyproject.toml': project, 'poetry.lock': '' }))[3],
    'RUN .holdfast-tools/bin/poetry export --without-hashes --output .holdfast-requirements.txt',
  );
});

void test('requirements of other files are copied with theirs, and those of the tree get the tree first', async () => {
  const lines = await dockerfileOf({
    'requirements.txt': '-r deps/base.txt # x\n-c deps/limits.txt\n-r ../out.txt\n',
    'deps/base.txt': '-r more.txt\nflask\n',
    'deps/more.txt': '',
    'deps/limits.txt': '',
    'app.py': flask,
  });
  assert.equal(lines[3], 'COPY . ./', 'a file outside cannot be copied: left to pip');
  const inside = await dockerfileOf({
    'requirements.txt': '-r deps/base.txt\n',
    'deps/base.txt': '-r more.txt\nflask\n',
    'deps/more.txt': '',
    'app.py': flask,
  });
  assert.deepEqual(inside.slice(3, 5), ['COPY requirements.txt ./', 'COPY deps/base.txt deps/more.txt ./deps/']);
  assert.equal((await dockerfileOf({ 'requirements.txt': '-e .\n', 'app.py': flask }))[3], 'COPY . ./');
});

void test('an app that requires nothing has one stage, and nothing to install', async () => {
  const files = { 'requirements.txt': '# nothing\n', 'main.py': '' };
  assert.equal((await dockerfileOf(files)).filter((line) => line.startsWith('FROM ')).length, 1);
  const command = await presetCommand('python', testTree(files));
  assert.deepEqual([command.install, command.run, command.binaries], [[], ['python3', 'main.py'], []]);
});

void test('without an image a venv in the copy has what is required, and the app listens on this machine only', async () => {
  const command = await presetCommand('python', testTree({ 'requirements.txt': 'flask\n', 'app.py': flask }));
  assert.deepEqual(command.install, [
    ['python3', '-m', 'venv', '.holdfast-venv'],
    ['pip', 'install', '-r', 'requirements.txt', 'gunicorn'],
  ]);
  assert.deepEqual(command.run, [
    'sh',
    '-c',
    `exec gunicorn --bind $HOLDFAST_HOST:\${PORT:-8080} --threads 8 'app:app'`,
  ]);
  assert.deepEqual(command.binaries, ['.holdfast-venv/bin']);
});
