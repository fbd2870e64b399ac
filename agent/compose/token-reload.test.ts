import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { createManualClock } from '../../shared/wait/testing/manual-clock.ts';
import { turns } from '../../shared/wait/testing/until.ts';
import { tokenDigest } from '../../shared/config/sections.ts';
import { Tokens } from '../rpc/tokens.ts';
import { startTokenReload } from './token-reload.ts';

const [old, fresh] = ['old-token-of-ci-1234', 'new-token-of-ci-1234'];

test('a token is rotated by its file: both count, then the new one alone; what cannot be used changes nothing', async (t) => {
  const clock = createManualClock();
  const files: Record<string, string | Error> = { '/run/ci': `${old}\n` };
  const given = [
    { name: 'ci', scopes: ['deploy' as const], digests: [tokenDigest(old)], expires: undefined, file: '/run/ci' },
    { name: 'kept', scopes: ['read' as const], digests: [tokenDigest('kept')], expires: undefined, file: undefined },
  ];
  const tokens = new Tokens(given);
  let ended = 0;
  const readFile = (path: string): string => {
    const text = files[path];
    if (typeof text === 'string') return text;
    throw text ?? new Error('ENOENT');
  };
  const reload = startTokenReload({ given, tokens, endLinks: () => (ended += 1), clock, log: silentLog, readFile });
  t.after(() => reload.close());
  const counts = async (text: string | Error): Promise<string> => {
    files['/run/ci'] = text;
    clock.advance(5_000);
    await turns();
    const known = [old, fresh, 'kept'].map((value) => tokens.check(`Bearer ${value}`)?.identity.name ?? '-');
    return known.join(' ');
  };
  assert.equal(await counts(`${fresh}\n${old}\n`), 'ci ci kept');
  assert.equal(await counts(`${fresh}\n`), '- ci kept');
  for (const bad of ['', 'short', `${old}\n${fresh}\n${old}x\n`, 'with space in the token', new Error('EACCES')])
    assert.equal(await counts(bad), '- ci kept', String(bad));
  assert.equal(ended, 7, 'links of tokens that count no more are ended each time');
});
