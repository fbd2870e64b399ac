/** Repositories of Node.js, Bun and Deno. */
import { type Entry, json, root } from '../entry.ts';

const listening = (text: string, create = "import { createServer } from 'node:http';"): string =>
  `${create}\ncreateServer((request, response) => response.end(${JSON.stringify(text)})).listen(process.env.PORT);\n`;

export const nodeEntries: readonly Entry[] = [
  {
    name: 'Express with a start script',
    files: {
      'package.json': json({ scripts: { start: 'node index.js' }, dependencies: { express: '^5.0.0' } }),
      'index.js':
        "const app = require('express')();\napp.get('/', (request, response) => response.send('hello from Express'));\napp.listen(process.env.PORT);\n",
    },
    answers: [...root('hello from Express'), { path: '/none', status: 404 }],
  },
  {
    name: 'a server.js without a package.json',
    files: {
      'server.js': listening('hello from server.js', "const { createServer } = require('node:http');"),
    },
    answers: root('hello from server.js'),
  },
];
