/** `npm run docs` updates the generated parts of docs/. */
import { writeFile } from 'node:fs/promises';
import { referenceDocs } from './reference.ts';

for (const { url, is, should } of await referenceDocs()) {
  if (is === should) continue;
  await writeFile(url, should);
  console.log(`written: ${url.pathname}`);
}
