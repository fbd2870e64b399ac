"""A Flask app: the preset `python` finds `app` and serves it with gunicorn."""

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello():
    return "Hello from python\n", {"content-type": "text/plain; charset=utf-8"}
