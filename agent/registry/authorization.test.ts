import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseChallenge } from './authorization.ts';

test('the first challenge that can be answered is found', () => {
  assert.deepEqual(
    parseChallenge('Bearer realm="https://auth.example/token",service="reg, \\"one\\"",scope=a:b:pull'),
    {
      scheme: 'bearer',
      realm: 'https://auth.example/token',
      service: 'reg, "one"',
      scope: 'a:b:pull',
    },
  );
  assert.deepEqual(parseChallenge('Negotiate, Basic realm="x"'), { scheme: 'basic' });
  assert.equal(parseChallenge('Bearer service="x"'), undefined);
});

test('a challenge that is too long to be real is not looked at, and one that is not takes no time', () => {
  assert.equal(parseChallenge(`Bearer realm="https://auth.example/${'a'.repeat(5_000)}"`), undefined);
  // Each word could be the start of a parameter: counted in steps, this would be millions.
  assert.equal(parseChallenge(`Bearer ${'a'.repeat(4_000)}`), undefined);
  assert.equal(parseChallenge(`Bearer ${'a="'.repeat(1_300)}`), undefined);
});
