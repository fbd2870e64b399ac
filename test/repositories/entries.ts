/** All repositories that are run. The ones that take longest come first, so that the two at a time end together. */
import { goEntries } from './entries/go.ts';
import { nodeEntries } from './entries/node.ts';
import { pythonEntries } from './entries/python.ts';
import { siteEntries } from './entries/sites.ts';
import type { Entry } from './entry.ts';

export const entries: readonly Entry[] = [...nodeEntries, ...pythonEntries, ...goEntries, ...siteEntries];
