/** All repositories that are run. The ones that take longest come first, so that the two at a time end together. */
import { compiledEntries } from './entries/compiled.ts';
import { frameworkEntries } from './entries/frameworks.ts';
import { nodeEntries } from './entries/node.ts';
import { pythonEntries } from './entries/python.ts';
import { scriptEntries } from './entries/scripts.ts';
import { siteEntries } from './entries/sites.ts';
import type { Entry } from './entry.ts';

export const entries: readonly Entry[] = [
  ...frameworkEntries,
  ...pythonEntries,
  ...compiledEntries,
  ...nodeEntries,
  ...scriptEntries,
  ...siteEntries,
];

export const builtEntries: readonly Entry[] = entries.filter(({ image }) => image === true);
