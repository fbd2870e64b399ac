/** Repositories of Python. */
import { type Entry, root } from '../entry.ts';

export const pythonEntries: readonly Entry[] = [
  {
    name: 'Flask in app.py',
    files: {
      'requirements.txt': 'Flask\ngunicorn\n',
      'app.py':
        'from flask import Flask\n\napp = Flask(__name__)\n\n@app.route("/")\ndef index():\n    return "hello from Flask"\n',
    },
    answers: root('hello from Flask'),
  },
];
