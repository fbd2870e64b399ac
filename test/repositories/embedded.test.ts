/** Repositories of many kinds on the embedded default: installed, built and started by their presets, and called; or refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startEmbedded } from './embedded.ts';
import { entries } from './entries.ts';
import { refusedEntries } from './entries/refused.ts';

void test('repositories on the embedded default', { concurrency: 2 }, async (t) => {
  const holdfast = await startEmbedded(t);
  await Promise.all([
    ...entries.map((entry) => t.test(entry.name, () => holdfast.run(entry))),
    ...refusedEntries.map((entry) =>
      t.test(`refused: ${entry.name}`, async () => assert.match(await holdfast.refusal(entry), entry.error)),
    ),
  ]);
});
