import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenDigest } from '../../shared/config/sections.ts';
import { Tokens } from './tokens.ts';

const bearer = (value: string): string => `Bearer ${value}`;

test('a name may have two values, and one that is withdrawn counts no more', () => {
  const token = { name: 'ci', scopes: ['deploy' as const] };
  const tokens = new Tokens([{ ...token, digests: [tokenDigest('old'), tokenDigest('new')] }]);
  const [old, fresh] = [tokens.check(bearer('old')), tokens.check(bearer('new'))];
  assert.equal(old?.identity.name, 'ci');
  assert.equal(fresh?.identity.name, 'ci');
  tokens.replace([{ ...token, digests: [tokenDigest('new')] }]);
  assert.equal(tokens.check(bearer('old')), undefined);
  assert.deepEqual([old?.isValid(), fresh?.isValid()], [false, true]);
});

test('an expired token is refused from its time on', () => {
  let nowMs = Date.parse('2026-12-01T00:00:00Z');
  const expires = '2026-12-01T00:00:01+00:00';
  const tokens = new Tokens([{ name: 'ci', scopes: ['read'], digests: [tokenDigest('a')], expires }], () => nowMs);
  const holder = tokens.check(bearer('a'));
  assert.equal(holder?.identity.expires, expires);
  nowMs += 1_000;
  assert.equal(tokens.check(bearer('a')), undefined);
  assert.equal(holder?.isValid(), false);
});

test('tokens are shown without their values, with when they were used', () => {
  const tokens = new Tokens([{ name: 'ci', scopes: ['read'], digests: [tokenDigest('a')] }], () => 0);
  assert.equal(tokens.views[0]?.lastUsedAt, null);
  tokens.check(bearer('a'));
  assert.deepEqual(tokens.views, [
    { name: 'ci', scopes: ['read'], values: 1, expires: null, lastUsedAt: '1970-01-01T00:00:00.000Z' },
  ]);
});

test('an empty token, which anyone could send, is refused', () => {
  for (const digests of [[], [tokenDigest('')]])
    assert.throws(() => new Tokens([{ name: 'x', scopes: ['read'], digests }]), { code: 'config_invalid' });
});
