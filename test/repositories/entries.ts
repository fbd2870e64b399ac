/** All repositories that are run. The ones that take longest come first, so that the two at a time end together. */
import { pythonRepositories } from '../../shared/presets/testing/repositories/python.ts';
import type { Repository } from '../../shared/presets/testing/repository.ts';
import { compiledEntries } from './entries/compiled.ts';
import { frameworkEntries } from './entries/frameworks.ts';
import { nodeEntries } from './entries/node.ts';
import { pythonEntries } from './entries/python.ts';
import { scriptEntries } from './entries/scripts.ts';
import { siteEntries } from './entries/sites.ts';
import type { Entry } from './entry.ts';

/** Those of the table of plans that can answer as they are. */
const ofTable = [...pythonRepositories].flatMap(({ name, files, settings, answers }: Repository): Entry[] =>
  answers === undefined || settings !== undefined ? [] : [{ name, files, answers: [answers] }],
);

export const entries: readonly Entry[] = [
  ...frameworkEntries,
  ...pythonEntries,
  ...compiledEntries,
  ...ofTable,
  ...nodeEntries,
  ...scriptEntries,
  ...siteEntries,
];

export const builtEntries: readonly Entry[] = entries.filter(({ image }) => image === true);
