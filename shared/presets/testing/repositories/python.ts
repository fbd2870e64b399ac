import type { Repository } from '../repository.ts';

const flask = (name = 'app'): string =>
  `from flask import Flask\n\n${name} = Flask(__name__)\n\n@${name}.route("/")\ndef index():\n    return "hello from Flask"\n`;
const fastapi =
  'from fastapi import FastAPI\n\napp = FastAPI()\n\n@app.get("/")\ndef index():\n    return {"from": "FastAPI"}\n';
const slim = 'python:3.13-slim';
const venv = 'python3 -m venv .holdfast-venv';
const gunicorn = 'gunicorn --bind "$HOLDFAST_HOST:$PORT" --threads 8';
const uvicorn = 'uvicorn --host "$HOLDFAST_HOST" --port "$PORT"';
const manage =
  'import os, sys\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\nif __name__ == "__main__":\n    from django.core.management import execute_from_command_line\n    execute_from_command_line(sys.argv)\n';
const djangoSettings =
  'SECRET_KEY = "x"\nALLOWED_HOSTS = ["*"]\nROOT_URLCONF = "mysite.urls"\nWSGI_APPLICATION = "mysite.wsgi.application"\nINSTALLED_APPS = []\n';
const djangoWsgi =
  'import os\nfrom django.core.wsgi import get_wsgi_application\nos.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")\napplication = get_wsgi_application()\n';
const djangoUrls =
  'from django.http import HttpResponse\nfrom django.urls import path\nurlpatterns = [path("", lambda request: HttpResponse("hello from Django"))]\n';
const django = {
  'manage.py': manage,
  'mysite/__init__.py': '',
  'mysite/settings.py': djangoSettings,
  'mysite/wsgi.py': djangoWsgi,
  'mysite/urls.py': djangoUrls,
};
const server =
  'import os\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\n\nclass Handler(BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b"hello from a script")\n\nHTTPServer((os.environ.get("HOST", ""), int(os.environ["PORT"])), Handler).serve_forever()\n';

const frameworks: readonly Repository[] = [
  {
    name: 'Django with gunicorn',
    files: { ...django, 'requirements.txt': 'Django\ngunicorn\n' },
    expected: {
      title: ['Django', 'pip', 'Python 3.13'],
      commands: [venv, 'pip install -r requirements.txt'],
      start: `${gunicorn} mysite.wsgi:application`,
      note: /Migrations are not run/,
    },
    answers: { path: '/', text: 'hello from Django' },
  },
  {
    name: 'Django with STATIC_ROOT, a package.json, and no server required',
    files: {
      ...django,
      'package.json': '{"scripts":{"start":"webpack --watch"}}',
      'mysite/settings.py': `${djangoSettings}STATIC_URL = "/static/"\nSTATIC_ROOT = "static-files"\n`,
      'requirements.txt': 'django==5.1\n',
    },
    expected: {
      commands: [venv, 'pip install -r requirements.txt gunicorn', 'collectstatic'],
      start: `${gunicorn} mysite.wsgi:application`,
    },
  },
  {
    name: 'Django with Channels in a folder, settings in a package',
    files: {
      'requirements.txt': 'django\nchannels\ndaphne\n',
      'backend/manage.py': manage.replace('mysite.settings', 'config.settings.local'),
      'backend/config/settings/base.py':
        'ASGI_APPLICATION = "config.asgi.application"\nWSGI_APPLICATION = "config.wsgi.application"\n',
      'backend/config/settings/local.py': 'from .base import *\n',
    },
    expected: {
      start: 'cd backend && exec daphne --bind "$HOLDFAST_HOST" --port "$PORT" --proxy-headers config.asgi:application',
    },
  },
  {
    name: 'Flask in application.py as application',
    files: { 'requirements.txt': 'Flask\n', 'application.py': flask('application') },
    expected: {
      title: ['Flask', 'pip', 'Python 3.13'],
      images: [slim, slim],
      start: `${gunicorn} application:application`,
      manifests: ['requirements.txt'],
    },
    answers: { path: '/', text: 'hello from Flask' },
  },
  {
    name: 'FastAPI in api.py',
    files: { 'requirements.txt': 'fastapi\n', 'api.py': fastapi },
    expected: { commands: [venv, 'pip install -r requirements.txt uvicorn websockets'], start: `${uvicorn} api:app` },
    answers: { path: '/', text: 'FastAPI' },
  },
  {
    name: 'a package in a folder that is none',
    files: {
      'requirements.txt': 'fastapi\n',
      'backend/app/__init__.py': '',
      'backend/app/core.py': 'name = "core"\n',
      'backend/app/main.py': `from app.core import name\n${fastapi}`,
    },
    expected: { start: `${uvicorn} app.main:app` },
  },
  {
    name: 'a package that names the folder above it',
    files: {
      'requirements.txt': 'fastapi\n',
      'backend/app/__init__.py': '',
      'backend/app/core.py': 'name = "core"\n',
      'backend/app/main.py': `from backend.app.core import name\n${fastapi}`,
    },
    expected: { start: `${uvicorn} backend.app.main:app` },
  },
  {
    name: 'a wsgi.py that imports the app of a package',
    files: {
      'requirements.txt': 'flask\nwaitress\n',
      'wsgi.py': 'from shop import app\n\nif __name__ == "__main__":\n    app.run()\n',
      'shop/__init__.py': flask(),
    },
    expected: { start: 'waitress-serve --listen="$HOLDFAST_HOST:$PORT" --threads=8 wsgi:app' },
    answers: { path: '/', text: 'hello from Flask' },
  },
  {
    name: 'a factory in a package',
    files: {
      'requirements.txt': 'flask\n',
      'shop/__init__.py':
        'from flask import Flask\n\ndef create_app(config=None):\n    app = Flask(__name__)\n    app.add_url_rule("/", "index", lambda: "made by a function")\n    return app\n',
    },
    expected: { start: `${gunicorn} 'shop:create_app()'` },
    answers: { path: '/', text: 'made by a function' },
  },
  {
    name: 'an object made by a factory of another module',
    files: {
      'requirements.txt': 'flask\n',
      'run.py': 'from shop.core import make\n\napp = make()\n',
      'shop/__init__.py': '',
      'shop/core.py': 'import flask\n\ndef make():\n    return flask.Flask("x")\n',
    },
    expected: { start: `${gunicorn} run:app` },
  },
  {
    name: 'a Procfile names the factory',
    files: {
      'requirements.txt': 'flask\ngunicorn\n',
      Procfile: 'web: gunicorn --bind :$PORT site_app:create_app()\n',
      'site_app.py': 'from flask import Flask\ndef create_app():\n    return Flask("x")\n',
    },
    expected: { start: 'gunicorn --bind :$PORT site_app:create_app()' },
  },
  {
    name: 'FastAPI below app/ with bare imports of what is beside it',
    files: {
      'requirements.txt': 'fastapi[standard]\n',
      'backend/main.py': `import helpers\n${fastapi}`,
      'backend/helpers.py': '',
    },
    expected: { start: `${uvicorn} main:app`, env: { PYTHONPATH: '.:backend' } },
  },
  {
    name: 'Litestar',
    files: {
      'requirements.txt': 'litestar\n',
      'app.py':
        'from litestar import Litestar, get\n\n@get("/")\nasync def index() -> str:\n    return "hello from Litestar"\n\napp = Litestar([index])\n',
    },
    expected: { start: `${uvicorn} app:app` },
  },
  {
    name: 'Starlette with hypercorn',
    files: {
      'requirements.txt': 'starlette\nhypercorn\n',
      'main.py': 'from starlette.applications import Starlette\n\napp: Starlette = Starlette()\n',
    },
    expected: { start: 'hypercorn --bind "$HOLDFAST_HOST:$PORT" main:app' },
  },
  {
    name: 'Quart',
    files: { 'requirements.txt': 'quart\n', 'app.py': 'from quart import Quart\n\napp = Quart(__name__)\n' },
    expected: { title: ['Quart', 'pip', 'Python 3.13'], start: `${uvicorn} app:app` },
  },
  {
    name: 'Falcon',
    files: { 'requirements.txt': 'falcon\n', 'app.py': 'import falcon\n\napp = falcon.App()\n' },
    expected: { start: `${gunicorn} app:app` },
  },
  {
    name: 'Bottle',
    files: {
      'requirements.txt': 'bottle\n',
      'app.py':
        'from bottle import Bottle\n\napp = Bottle()\n\n@app.route("/")\ndef index():\n    return "hello from Bottle"\n',
    },
    expected: { start: `${gunicorn} app:app` },
    answers: { path: '/', text: 'hello from Bottle' },
  },
  {
    name: 'Sanic',
    files: { 'requirements.txt': 'sanic\n', 'server.py': 'from sanic import Sanic\n\napp = Sanic("x")\n' },
    expected: { start: 'sanic server:app --host "$HOLDFAST_HOST" --port "$PORT"' },
  },
  {
    name: 'aiohttp',
    files: {
      'requirements.txt': 'aiohttp\n',
      'main.py':
        'from aiohttp import web\n\nasync def index(request):\n    return web.Response(text="hello from aiohttp")\n\ndef init():\n    app = web.Application()\n    app.router.add_get("/", index)\n    return app\n\nif __name__ == "__main__":\n    web.run_app(init())\n',
    },
    expected: {
      start: `gunicorn --bind "$HOLDFAST_HOST:$PORT" --worker-class aiohttp.GunicornWebWorker 'main:init()'`,
    },
    answers: { path: '/', text: 'hello from aiohttp' },
  },
  {
    name: 'Tornado that listens on a port of its own',
    files: {
      'requirements.txt': 'tornado\n',
      'main.py':
        'import tornado.ioloop\nimport tornado.web\n\nclass Main(tornado.web.RequestHandler):\n    def get(self):\n        self.write("hello from Tornado")\n\ndef make_app():\n    return tornado.web.Application([(r"/", Main)])\n\nif __name__ == "__main__":\n    make_app().listen(8888)\n    tornado.ioloop.IOLoop.current().start()\n',
    },
    expected: { title: ['Tornado', 'pip', 'Python 3.13'] },
    answers: { path: '/', text: 'hello from Tornado' },
  },
  {
    name: 'FastHTML',
    files: {
      'requirements.txt': 'python-fasthtml\n',
      'main.py':
        'from fasthtml.common import *\n\napp, rt = fast_app()\n\n@rt("/")\ndef get():\n    return P("hello")\n\nserve()\n',
    },
    expected: { start: `${uvicorn} main:app` },
  },
  {
    name: 'an ASGI function without a framework',
    files: {
      'main.py':
        'async def app(scope, receive, send):\n    await send({"type": "http.response.start", "status": 200, "headers": []})\n    await send({"type": "http.response.body", "body": b"hello from ASGI"})\n',
    },
    expected: { title: ['ASGI', 'Python 3.13'], commands: [venv, 'pip install uvicorn websockets'] },
    answers: { path: '/', text: 'hello from ASGI' },
  },
  {
    name: 'Streamlit',
    files: {
      'requirements.txt': 'streamlit\n',
      'dashboard.py': 'import streamlit as st\nimport helpers\n\nst.title("x")\n',
      'helpers.py': 'import streamlit as st\n',
    },
    expected: {
      start:
        'streamlit run --server.address "$HOLDFAST_HOST" --server.port "$PORT" --server.headless true --server.fileWatcherType none --browser.gatherUsageStats false dashboard.py',
    },
  },
  {
    name: 'Gradio below a path',
    route: { path: '/demo', stripped: true },
    files: {
      'requirements.txt': 'gradio\n',
      'app.py': 'import gradio as gr\n\ndemo = gr.Interface(lambda x: x, "text", "text")\ndemo.launch()\n',
    },
    expected: {
      start: 'env GRADIO_SERVER_NAME="$HOLDFAST_HOST" GRADIO_SERVER_PORT="$PORT" python3 app.py',
      env: { GRADIO_ROOT_PATH: '/demo' },
    },
  },
  {
    name: 'Dash with a server object, below a path',
    route: { path: '/dash', stripped: true },
    files: {
      'requirements.txt': 'dash\ngunicorn\n',
      'app.py':
        'from dash import Dash, html\n\napp = Dash(__name__)\nserver = app.server\napp.layout = html.Div("x")\n',
    },
    expected: {
      start: `${gunicorn} app:server`,
      env: { DASH_REQUESTS_PATHNAME_PREFIX: '/dash/', DASH_ROUTES_PATHNAME_PREFIX: '/' },
    },
  },
  {
    name: 'Dash without a server object',
    files: { 'requirements.txt': 'dash\n', 'main.py': 'import dash\n\napp = dash.Dash(__name__)\n' },
    expected: {
      commands: [venv, 'pip install -r requirements.txt waitress'],
      start: 'waitress-serve --listen="$HOLDFAST_HOST:$PORT" --threads=8 main:app.server',
    },
  },
  {
    name: 'Shiny',
    files: {
      'requirements.txt': 'shiny\n',
      'app.py': 'from shiny import App, ui\n\napp = App(ui.page_fluid("x"), None)\n',
    },
    expected: { start: 'shiny run --host "$HOLDFAST_HOST" --port "$PORT" app:app' },
  },
  {
    name: 'Panel',
    files: { 'requirements.txt': 'panel\n', 'app.py': 'import panel as pn\n\npn.panel("x").servable()\n' },
    expected: {
      start: `panel serve --address "$HOLDFAST_HOST" --port "$PORT" --allow-websocket-origin '*' --use-xheaders app.py`,
    },
  },
  {
    name: 'Chainlit',
    files: {
      'requirements.txt': 'chainlit\n',
      'app.py': 'import chainlit as cl\n\n@cl.on_message\nasync def main(m):\n    pass\n',
    },
    expected: { start: 'chainlit run --headless --host "$HOLDFAST_HOST" --port "$PORT" app.py' },
  },
  {
    name: 'NiceGUI',
    files: {
      'requirements.txt': 'nicegui\n',
      'main.py': 'from nicegui import ui\n\nui.label("hello from NiceGUI")\nui.run()\n',
    },
    expected: { title: ['NiceGUI', 'pip', 'Python 3.13'] },
    answers: { path: '/', text: 'NiceGUI' },
  },
  {
    name: 'Reflex is refused',
    files: { 'requirements.txt': 'reflex\n', 'rxconfig.py': '' },
    expected: { error: /Reflex apps have .*Dockerfile/ },
  },
  {
    name: 'FastAPI below a stripped path',
    route: { path: '/api', stripped: true },
    files: { 'requirements.txt': 'fastapi\n', 'main.py': fastapi },
    expected: { start: 'uvicorn --host "$HOLDFAST_HOST" --port "$PORT" --root-path /api main:app' },
  },
  {
    name: 'Flask below a stripped path',
    route: { path: '/shop', stripped: true },
    files: { 'requirements.txt': 'flask\n', 'app.py': flask() },
    expected: { start: 'waitress-serve --listen="$HOLDFAST_HOST:$PORT" --threads=8 --url-prefix=/shop app:app' },
  },
  {
    name: 'a script with a server of its own',
    files: { 'main.py': server },
    expected: { images: [undefined, slim], commands: [], start: 'python3 main.py' },
    answers: { path: '/', text: 'hello from a script' },
  },
  {
    name: 'a console script of a package',
    files: {
      'pyproject.toml':
        '[project]\nname = "x"\nversion = "1"\n[project.scripts]\nserve = "x.main:run"\n[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
      'src/x/__init__.py': '',
      'src/x/main.py': 'def run():\n    pass\n',
    },
    expected: { commands: [venv, 'pip install --no-deps -e .'], start: 'serve' },
  },
  {
    name: 'nothing to start',
    files: { 'requirements.txt': 'requests\n', 'a.py': 'x = 1\n', 'b.py': '' },
    expected: { error: /Looked for a manage\.py of Django.*none is in a\.py, b\.py/ },
  },
  {
    name: 'a framework that nothing requires',
    files: { 'app.py': flask() },
    expected: { error: /app\.py uses Flask, and no file says what to install/ },
  },
];

const managers: readonly Repository[] = [
  {
    name: '.python-version with a patch release',
    files: { '.python-version': '3.11.4\n', 'main.py': server },
    expected: { images: [undefined, 'python:3.11-slim'] },
  },
  {
    name: 'requires-python',
    files: {
      'pyproject.toml': '[project]\nname = "x"\nrequires-python = ">=3.10,<3.13"\ndependencies = ["flask"]\n',
      'app.py': flask(),
    },
    expected: { title: ['Flask', 'pip', 'Python 3.12'], commands: [venv, 'pip install flask gunicorn'] },
  },
  {
    name: 'runtime.txt of Heroku',
    files: { 'runtime.txt': 'python-3.12.1\n', 'main.py': server },
    expected: { images: [undefined, 'python:3.12-slim'] },
  },
  {
    name: '.tool-versions',
    files: { '.tool-versions': 'nodejs 20.1.0\npython 3.10.2\n', 'main.py': server },
    expected: { images: [undefined, 'python:3.10-slim'] },
  },
  {
    name: 'Python 2',
    files: { 'runtime.txt': 'python-2.7.18\n', 'main.py': server },
    expected: { error: /runtime\.txt asks for Python "python-2\.7\.18", for which there is no image/ },
  },
  {
    name: 'Pipfile with a lock file',
    files: {
      Pipfile: '[packages]\nflask = "*"\n[requires]\npython_version = "3.11"\n',
      'Pipfile.lock': '{\n    "default": {\n        "flask": {}\n    }\n}\n',
      'app.py': flask(),
    },
    expected: {
      title: ['Flask', 'pipenv', 'Python 3.11'],
      commands: [venv, 'install pipenv', 'pipenv sync', 'pip install gunicorn'],
    },
  },
  {
    name: 'Poetry',
    files: {
      'pyproject.toml': '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3.11"\nfastapi = "*"\n',
      'poetry.lock': '',
      'main.py': fastapi,
    },
    expected: {
      title: ['FastAPI', 'Poetry', 'Python 3.13'],
      commands: [
        venv,
        'install poetry',
        'poetry install --only main --no-root --no-interaction',
        'pip install uvicorn websockets',
      ],
      manifests: ['pyproject.toml', 'poetry.lock'],
    },
  },
  {
    name: 'Poetry with a package beside it',
    files: {
      'pyproject.toml': '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\nflask = "*"\nlib = {path = "lib"}\n',
      'poetry.lock': '[[package]]\nname = "lib"\n[package.source]\ntype = "directory"\n',
      'app.py': flask(),
    },
    expected: { manifests: 'tree' },
  },
  {
    name: 'Poetry without a lock file',
    files: { 'pyproject.toml': '[tool.poetry.dependencies]\nflask = "*"\n', 'app.py': flask() },
    expected: { error: /run `poetry lock`/ },
  },
  {
    name: 'PDM',
    files: {
      'pyproject.toml': '[project]\nname = "x"\ndependencies = ["flask"]\n',
      'pdm.lock': '[[package]]\nname = "flask"\n',
      'app.py': flask(),
    },
    expected: { commands: [venv, 'install pdm', 'pdm sync --prod --no-self', 'pip install gunicorn'] },
  },
  {
    name: 'uv',
    files: {
      'pyproject.toml': '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\ndependencies = ["fastapi"]\n',
      'uv.lock': 'version = 1\n',
      'main.py': fastapi,
    },
    expected: {
      commands: [venv, 'install uv', 'uv sync --frozen --no-dev --inexact', 'pip install uvicorn websockets'],
      manifests: ['pyproject.toml', 'uv.lock'],
    },
  },
  {
    name: 'a uv workspace, the app chosen by dir',
    settings: { dir: 'apps/api' },
    files: {
      'pyproject.toml': '[tool.uv.workspace]\nmembers = ["apps/*", "libs/*"]\n',
      'uv.lock': '[manifest]\nmembers = [\n    "api",\n]\n',
      'apps/api/pyproject.toml':
        '[project]\nname = "api"\nversion = "1"\ndependencies = ["fastapi", "uvicorn", "lib"]\n',
      'apps/api/main.py': fastapi,
      'libs/lib/pyproject.toml': '[project]\nname = "lib"\nversion = "1"\n',
    },
    expected: {
      commands: [
        venv,
        'install uv',
        'uv sync --frozen --no-dev --inexact --package api --no-install-workspace',
        'uv sync --frozen --no-dev --inexact --package api',
      ],
      start: `${uvicorn} main:app`,
    },
  },
  {
    name: 'requirements with hashes',
    files: { 'requirements.txt': 'flask==3.1.0 \\\n    --hash=sha256:aa\n', 'app.py': flask() },
    expected: { commands: [venv, 'pip install -r requirements.txt', 'pip install gunicorn'] },
  },
  {
    name: 'requirements of other files, and of the tree',
    files: { 'requirements.txt': '-r deps/base.txt\n-e ./lib\n', 'deps/base.txt': 'flask\n', 'app.py': flask() },
    expected: { manifests: 'tree' },
  },
  {
    name: 'requirements/production.txt',
    files: { 'requirements/production.txt': '-r base.txt\n', 'requirements/base.txt': 'flask\n', 'app.py': flask() },
    expected: {
      commands: [venv, 'pip install -r requirements/production.txt gunicorn'],
      manifests: ['requirements/production.txt', 'requirements/base.txt'],
    },
  },
  {
    name: 'packages that are compiled, and one from git',
    files: {
      'requirements.txt': 'flask\npsycopg2\nmysqlclient\ngit+https://git.example/x.git#egg=x\n',
      'app.py': flask(),
    },
    expected: {
      packages: [
        ['git', 'gcc', 'libc6-dev', 'libpq-dev', 'default-libmysqlclient-dev', 'pkg-config'],
        ['libpq5', 'libmariadb3'],
      ],
    },
  },
  {
    name: 'a package with wheels needs nothing',
    files: { 'requirements.txt': 'flask\npsycopg2-binary\npsycopg[binary]\n', 'app.py': flask() },
    expected: { packages: [[], []] },
  },
  {
    name: 'setup.py alone',
    files: {
      'setup.py': 'from setuptools import setup\nsetup(name="x", install_requires=["flask>=3"])\n',
      'app.py': flask(),
    },
    expected: { commands: [venv, 'pip install -e . gunicorn'], manifests: 'tree' },
  },
  {
    name: 'conda',
    files: { 'environment.yml': 'dependencies: [flask]\n', 'app.py': flask() },
    expected: { error: /environment\.yml is for conda/ },
  },
];

export const pythonRepositories: readonly Repository[] = [...frameworks, ...managers];
