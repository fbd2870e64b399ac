/** `npm run check:imports`: fails on circles of imports, imports against the layers, and what layers.ts forbids besides. */
import { globSync, readFileSync } from 'node:fs';
import { allowed } from './allowed.ts';
import { layers, readsEnvironment } from './layers.ts';
import { readSourceFile } from './source-file.ts';
import { violations } from './violations.ts';

const files = globSync('{router,agent,builder,shared,cli,test,bench}/**/*.ts').toSorted();
const found = violations(
  files.map((path) => readSourceFile(path, readFileSync(path, 'utf8'))),
  { layers, readsEnvironment },
);
const added = found.filter((violation) => !allowed.includes(violation));
const stale = allowed.filter((violation) => !found.includes(violation));
for (const violation of added) console.error(`new: ${violation}`);
for (const violation of stale) console.error(`gone, remove it from test/structure/allowed.ts: ${violation}`);
if (added.length + stale.length > 0) process.exitCode = 1;
else console.log(`${files.length} files, ${allowed.length} allowed violations`);
