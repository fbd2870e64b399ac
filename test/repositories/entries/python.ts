/** Repositories of Python besides those of the table. */
import { type Entry, root } from '../entry.ts';

const flask = (text: string, name = 'app'): string =>
  `from flask import Flask\n\n${name} = Flask(__name__)\n\n@${name}.route("/")\ndef index():\n    return "${text}"\n`;

export const pythonEntries: readonly Entry[] = [
  {
    name: 'Streamlit',
    files: {
      'requirements.txt': 'streamlit\n',
      'app.py': 'import streamlit as st\n\nst.title("hello from Streamlit")\n',
    },
    answers: [...root('Streamlit'), { path: '/_stcore/health', text: 'ok' }],
  },
  {
    name: 'Flask in app.py',
    files: { 'requirements.txt': 'Flask\ngunicorn\n', 'app.py': flask('hello from Flask') },
    answers: root('hello from Flask'),
    image: true,
  },
  {
    name: 'a Procfile with gunicorn and a factory',
    files: {
      Procfile: 'web: gunicorn --bind :$PORT "site_app:create_app()"\n',
      'requirements.txt': 'flask\ngunicorn\n',
      'site_app.py':
        'from flask import Flask\n\ndef create_app():\n    app = Flask(__name__)\n    app.add_url_rule("/", view_func=lambda: "hello from the Procfile")\n    return app\n',
    },
    answers: root('hello from the Procfile'),
    image: true,
  },
  {
    name: 'FastAPI in a package, pyproject.toml',
    files: {
      'pyproject.toml':
        '[project]\nname = "shop"\nversion = "1.0"\nrequires-python = ">=3.9"\ndependencies = ["fastapi", "uvicorn"]\n',
      'app/__init__.py': '',
      'app/main.py':
        'from fastapi import FastAPI\n\napp = FastAPI()\n\n@app.get("/")\ndef index():\n    return {"hello": "FastAPI"}\n',
    },
    answers: [...root('"hello":"FastAPI"'), { path: '/docs', text: 'swagger' }],
    image: true,
  },
  {
    name: 'Starlette in server.py as application',
    files: {
      'requirements.txt': 'starlette\nuvicorn\n',
      'server.py':
        'from starlette.applications import Starlette\nfrom starlette.responses import PlainTextResponse\nfrom starlette.routing import Route\n\nasync def index(request):\n    return PlainTextResponse("hello from Starlette")\n\napplication = Starlette(routes=[Route("/", index)])\n',
    },
    answers: root('hello from Starlette'),
  },
  {
    name: 'http.server without requirements',
    files: {
      'main.py':
        'import os\nfrom http.server import BaseHTTPRequestHandler, HTTPServer\n\nclass Handler(BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b"hello from http.server")\n\nHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()\n',
    },
    answers: root('hello from http.server'),
    image: true,
  },
];
