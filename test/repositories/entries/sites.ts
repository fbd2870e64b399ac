/** Sites that are served as they are. */
import { type Entry, json, root } from '../entry.ts';

export const siteEntries: readonly Entry[] = [
  {
    name: 'plain files',
    files: { 'index.html': '<h1>hello from files</h1>', 'about/index.html': '<h1>about</h1>' },
    answers: [...root('hello from files'), { path: '/about/', text: 'about' }, { path: '/none', status: 404 }],
    image: true,
  },
  {
    name: 'a site with a page for what is not there',
    files: { 'index.html': 'hello', '404.html': 'this page is not here' },
    answers: [...root('hello'), { path: '/none', status: 404, text: 'this page is not here' }],
  },
  {
    name: 'plain files as a single-page app',
    files: {
      'holdfast.toml': '[build]\nspa = true\n',
      'index.html': '<p>one page</p>',
      'style.css': 'p { color: red }',
    },
    answers: [...root('one page'), { path: '/orders/7', text: 'one page' }, { path: '/style.css', text: 'red' }],
    image: true,
  },
  {
    name: 'a site that a script makes',
    files: {
      'package.json': json({ scripts: { build: 'node make.mjs' } }),
      'make.mjs':
        "import { mkdirSync, writeFileSync } from 'node:fs';\nmkdirSync('dist', { recursive: true });\nwriteFileSync('dist/index.html', '<p>made</p>');\n",
    },
    answers: root('made'),
    image: true,
  },
  {
    name: 'the output folder named in holdfast.toml',
    files: {
      'holdfast.toml': '[build]\nbuild = "mkdir -p site && cp page.html site/index.html"\noutput = "site"\n',
      'package.json': json({ private: true }),
      'page.html': '<p>from the named folder</p>',
    },
    answers: root('from the named folder'),
  },
];
