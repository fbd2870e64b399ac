import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findUnstorable, storable, storableJson } from './storable-text.ts';

test('a zero character and half of a surrogate pair are found wherever they are, values and keys alike', () => {
  assert.equal(findUnstorable({ apps: [{ env: { A: 'text', B: '🎉' } }] }), undefined);
  assert.equal(findUnstorable(null), undefined);
  assert.deepEqual(findUnstorable({ apps: [{}, { secrets: { KEY: 'a\0b' } }] }), ['apps', '1', 'secrets', 'KEY']);
  assert.deepEqual(findUnstorable({ a: '\ud800' }), ['a']);
  assert.deepEqual(findUnstorable({ a: { 'k\0': 1 } }), ['a', 'k\uFFFD']);
  assert.deepEqual(findUnstorable('\0'), []);
  assert.deepEqual(findUnstorable({ a: '\0', b: '\0' }), ['a'], 'the first one');
});

test('deep nesting does not overflow the stack', () => {
  const depth = 500_000;
  assert.equal(findUnstorable(JSON.parse('['.repeat(depth) + ']'.repeat(depth))), undefined);
});

test('what a program printed is replaced, also inside JSON', () => {
  assert.equal(storable('a\0b\udfff'), 'a\uFFFDb\uFFFD');
  assert.deepEqual(JSON.parse(storableJson({ logs: ['a\0', 'ok'], n: 1, none: null })), {
    logs: ['a\uFFFD', 'ok'],
    n: 1,
    none: null,
  });
});
