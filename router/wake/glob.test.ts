import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assert as check, constantFrom, property, string } from 'fast-check';
import { glob } from './glob.ts';

const cases: readonly (readonly [pattern: string, fits: readonly string[], fitsNot: readonly string[]])[] = [
  ['kube-probe/*', ['kube-probe/', 'kube-probe/1.31'], ['kube-probe', 'x kube-probe/1']],
  ['*bot*', ['bot', 'a bot', 'Googlebot/2.1'], ['bo t', '']],
  ['/healthz', ['/healthz'], ['/healthz/', '/health']],
  ['/a/*/z', ['/a//z', '/a/b/c/z'], ['/a/z', '/a/b/z/']],
  ['*', ['', 'anything'], []],
  ['a*a', ['aa', 'aba'], ['a']],
  ['*ab*ab', ['abab', 'xabyab'], ['ab', 'xab']],
  ['.*', ['.', '.x'], ['x']],
];

for (const [pattern, fits, fitsNot] of cases) {
  test(`${pattern} fits what it says`, () => {
    const match = glob(pattern);
    for (const text of fits) assert.ok(match(text), text);
    for (const text of fitsNot) assert.ok(!match(text), text);
  });
}

test('a pattern fits what the same as a regular expression does', () => {
  const text = string({ unit: constantFrom('a', 'b', '.'), maxLength: 12 });
  const pattern = string({ unit: constantFrom('a', 'b', '.', '*'), maxLength: 8 });
  check(
    property(pattern, text, (pattern, text) => {
      const regex = new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '[^]*')}$`);
      assert.equal(glob(pattern)(text), regex.test(text));
    }),
    { numRuns: 2_000 },
  );
});

test('a pattern built to match slowly takes one pass over the text', () => {
  const match = glob(`${'a*'.repeat(127)}b`);
  const text = 'a'.repeat(65_536);
  const startMs = performance.now();
  for (let count = 0; count < 100; count += 1) assert.ok(!match(text));
  // A backtracking matcher does not end at all.
  assert.ok(performance.now() - startMs < 5_000);
});
