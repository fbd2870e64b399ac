import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SourceUse } from './source-use.ts';

void test('a snapshot is needed from its pin, by every version that has it, and no longer', () => {
  const use = new SourceUse();
  use.claim('a');
  assert.equal(use.needs('a'), true);
  use.use('app', 1, 'a');
  use.use('app', 1, 'a');
  use.adopt('other', 4, 'a');
  use.drop('app', 1);
  assert.equal(use.needs('a'), true);
  use.dropApp('other');
  assert.equal(use.needs('a'), false);
});

void test('the snapshot of a version that has never been started outlives another version with the same content', () => {
  const use = new SourceUse();
  use.claim('a');
  use.claim('a');
  use.use('app', 1, 'a');
  use.drop('app', 1);
  assert.equal(use.needs('a'), true);
  use.use('app', 2, 'a');
  use.drop('app', 2);
  assert.equal(use.needs('a'), false);
});
