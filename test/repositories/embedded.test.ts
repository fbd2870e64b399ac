/** Repositories of many kinds, run on the embedded default: installed, built, started by their presets, and called. */
import { test } from 'node:test';
import { startEmbedded } from './embedded.ts';
import { entries } from './entries.ts';

void test('repositories on the embedded default', { concurrency: 2 }, async (t) => {
  const holdfast = await startEmbedded(t);
  await Promise.all(entries.map((entry) => t.test(entry.name, () => holdfast.run(entry))));
});
