/** Repositories of Node.js, Bun and Deno that answer by a server of their own. */
import { type Entry, json, root } from '../entry.ts';

/** A server of node:http, as an ES module. */
const serves = (text: string): string =>
  `import { createServer } from 'node:http';\ncreateServer((request, response) => response.end(${JSON.stringify(text)})).listen(process.env.PORT);\n`;

export const nodeEntries: readonly Entry[] = [
  {
    name: 'Express with a start script',
    files: {
      'package.json': json({ scripts: { start: 'node index.js' }, dependencies: { express: '^5.0.0' } }),
      'index.js':
        "const app = require('express')();\napp.get('/', (request, response) => response.send('hello from Express'));\napp.listen(process.env.PORT);\n",
    },
    answers: [...root('hello from Express'), { path: '/none', status: 404 }],
    image: true,
  },
  {
    name: 'a server.js without a package.json',
    files: {
      'server.js':
        "const { createServer } = require('node:http');\ncreateServer((request, response) => response.end('hello from server.js')).listen(process.env.PORT);\n",
    },
    answers: root('hello from server.js'),
    image: true,
  },
  {
    name: 'Fastify in TypeScript',
    files: {
      'package.json': json({
        type: 'module',
        scripts: { build: 'tsc', start: 'node dist/server.js' },
        dependencies: { fastify: '^5.0.0' },
        devDependencies: { typescript: '~5.8.0', '@types/node': '^22.0.0' },
      }),
      'tsconfig.json': json({
        compilerOptions: { module: 'nodenext', target: 'es2022', outDir: 'dist', rootDir: 'src', skipLibCheck: true },
        include: ['src'],
      }),
      'src/server.ts':
        "import Fastify from 'fastify';\nconst app = Fastify();\napp.get('/', async () => ({ hello: 'from Fastify' }));\nconst port: number = Number(process.env.PORT);\nawait app.listen({ port, host: process.env.HOST ?? '0.0.0.0' });\n",
    },
    answers: root('from Fastify'),
    image: true,
  },
  {
    name: 'Hono on Node, ES module as main',
    files: {
      'package.json': json({
        type: 'module',
        main: 'app.js',
        dependencies: { hono: '^4.0.0', '@hono/node-server': '^1.0.0' },
      }),
      'app.js':
        "import { Hono } from 'hono';\nimport { serve } from '@hono/node-server';\nconst app = new Hono();\napp.get('/', (c) => c.text('hello from Hono'));\nserve({ fetch: app.fetch, port: Number(process.env.PORT) });\n",
    },
    answers: root('hello from Hono'),
  },
  {
    name: 'Koa with a Procfile',
    files: {
      Procfile: 'web: node web/koa.js\n',
      'package.json': json({ private: true, dependencies: { koa: '^3.0.0' } }),
      'web/koa.js':
        "const Koa = require('koa');\nconst app = new Koa();\napp.use((ctx) => { ctx.body = 'hello from Koa'; });\napp.listen(process.env.PORT);\n",
    },
    answers: root('hello from Koa'),
    image: true,
  },
  {
    name: 'a start script with a tool of devDependencies',
    files: {
      'package.json': json({
        type: 'module',
        scripts: { start: 'cross-env GREETING=hello node server.mjs' },
        devDependencies: { 'cross-env': '^7.0.0' },
      }),
      'server.mjs':
        "import { createServer } from 'node:http';\ncreateServer((request, response) => response.end(`${process.env.GREETING} by cross-env`)).listen(process.env.PORT);\n",
    },
    answers: root('hello by cross-env'),
    image: true,
  },
  {
    name: 'a postinstall script that needs devDependencies',
    files: {
      'package.json': json({
        type: 'module',
        scripts: { postinstall: 'mkdirp made && node make.mjs', start: 'node server.mjs' },
        devDependencies: { mkdirp: '^3.0.0' },
      }),
      'make.mjs': "import { writeFileSync } from 'node:fs';\nwriteFileSync('made/text.txt', 'made by postinstall');\n",
      'server.mjs':
        "import { readFileSync } from 'node:fs';\nimport { createServer } from 'node:http';\nconst text = readFileSync('made/text.txt');\ncreateServer((request, response) => response.end(text)).listen(process.env.PORT);\n",
    },
    answers: root('made by postinstall'),
    image: true,
  },
  {
    name: 'npm workspaces, an app that needs a package with a build',
    files: {
      'package.json': json({ private: true, workspaces: ['apps/*', 'packages/*'] }),
      'holdfast.toml': '[build]\ndir = "apps/web"\n',
      'packages/lib/package.json': json({
        name: '@shop/lib',
        version: '1.0.0',
        type: 'module',
        main: 'dist/index.js',
        scripts: { build: 'node build.mjs' },
      }),
      'packages/lib/build.mjs':
        "import { mkdirSync, writeFileSync } from 'node:fs';\nmkdirSync('dist', { recursive: true });\nwriteFileSync('dist/index.js', 'export const text = \"hello from the workspace\";\\n');\n",
      'apps/web/package.json': json({
        name: 'web',
        version: '1.0.0',
        type: 'module',
        scripts: { start: 'node server.js' },
        dependencies: { '@shop/lib': '^1.0.0' },
      }),
      'apps/web/server.js':
        "import { createServer } from 'node:http';\nimport { text } from '@shop/lib';\ncreateServer((request, response) => response.end(text)).listen(process.env.PORT);\n",
    },
    answers: root('hello from the workspace'),
    image: true,
  },
  {
    name: 'pnpm workspace',
    files: {
      'package.json': json({ private: true }),
      'pnpm-workspace.yaml': 'packages:\n  - apps/*\n  - libs/*\n',
      'libs/text/package.json': json({ name: 'text', version: '1.0.0', type: 'module', main: 'index.js' }),
      'libs/text/index.js': "export const text = 'hello from pnpm';\n",
      'apps/api/package.json': json({
        name: 'api',
        version: '1.0.0',
        type: 'module',
        scripts: { start: 'node server.js' },
        dependencies: { text: 'workspace:*', ms: '^2.1.0' },
      }),
      'apps/api/server.js':
        "import { createServer } from 'node:http';\nimport ms from 'ms';\nimport { text } from 'text';\ncreateServer((request, response) => response.end(`${text} in ${ms('1s')}`)).listen(process.env.PORT);\n",
    },
    answers: root('hello from pnpm in 1000'),
    image: true,
  },
  {
    name: 'Yarn by packageManager',
    files: {
      'package.json': json({
        type: 'module',
        packageManager: 'yarn@1.22.22',
        scripts: { start: 'node server.js' },
        dependencies: { ms: '^2.1.0' },
      }),
      'server.js': `import ms from 'ms';\n${serves('hello from Yarn')}`,
    },
    answers: root('hello from Yarn'),
  },
  {
    name: 'Bun.serve',
    files: {
      'package.json': json({ name: 'on-bun', module: 'index.ts', devDependencies: { 'bun-types': '^1.2.0' } }),
      'bunfig.toml': '',
      'index.ts': "Bun.serve({ port: process.env.PORT, fetch: () => new Response('hello from Bun') });\n",
    },
    answers: root('hello from Bun'),
  },
  {
    name: 'Deno.serve with a deno.json',
    files: {
      'deno.json': json({ tasks: { start: 'deno run --allow-net --allow-env main.ts' } }),
      'main.ts': "Deno.serve(() => new Response('hello from Deno'));\n",
    },
    answers: root('hello from Deno'),
  },
  {
    name: 'version files and engines',
    files: {
      '.nvmrc': 'v24\n',
      'package.json': json({ type: 'module', engines: { node: '>=20' }, scripts: { start: 'node server.js' } }),
      'server.js': serves('hello by .nvmrc'),
    },
    answers: root('hello by .nvmrc'),
    image: true,
  },
  {
    name: 'a start of holdfast.toml',
    files: {
      'holdfast.toml': '[build]\ninstall = "echo greeting > made.txt"\nstart = "node lib/run.mjs"\n',
      'package.json': json({ private: true }),
      'lib/run.mjs':
        "import { readFileSync } from 'node:fs';\nimport { createServer } from 'node:http';\nconst text = readFileSync('made.txt');\ncreateServer((request, response) => response.end(text)).listen(process.env.PORT);\n",
    },
    answers: root('greeting'),
    image: true,
  },
];
