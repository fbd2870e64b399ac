/** Static sites, plain or built. */
import { type Entry, root } from '../entry.ts';

export const siteEntries: readonly Entry[] = [
  {
    name: 'plain files',
    files: { 'index.html': '<h1>hello from files</h1>', 'about/index.html': '<h1>about</h1>' },
    answers: [...root('hello from files'), { path: '/about/', text: 'about' }, { path: '/none', status: 404 }],
  },
];
