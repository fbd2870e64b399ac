/** `npm run check:imports`: fails on circles of imports, imports against the layers, and what layers.ts forbids besides. */
import { globSync, readFileSync } from 'node:fs';
import { layers, readsEnvironment } from './layers.ts';
import { readSourceFile } from './source-file.ts';
import { violations } from './violations.ts';

const files = globSync('{router,agent,builder,shared,cli,test,bench}/**/*.ts').toSorted();
const found = violations(
  files.map((path) => readSourceFile(path, readFileSync(path, 'utf8'))),
  { layers, readsEnvironment },
);
for (const violation of found) console.error(violation);
if (found.length > 0) process.exitCode = 1;
else console.log(`${files.length} files, no violation`);
