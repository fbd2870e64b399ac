import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGitUrl, repositoryKey } from './git-url.ts';

void test('https, ssh in both forms, and file where it is allowed', () => {
  for (const [source, protocol, host, user] of [
    ['https://Git.Example/a/b.git', 'https', 'git.example', undefined],
    ['https://git.example:8443/a', 'https', 'git.example:8443', undefined],
    ['ssh://git@git.example:2222/a', 'ssh', 'git.example:2222', 'git'],
    ['git@git.example:a/b.git', 'ssh', 'git.example', 'git'],
    ['http://localhost:3000/a', 'http', 'localhost:3000', undefined],
    ['file:///srv/a.git', 'file', '', undefined],
  ] as const)
    assert.deepEqual(parseGitUrl(source, { allowFiles: true }), { protocol, url: source, host, user });
});

void test('unsupported URLs are refused, saying what to write instead', () => {
  for (const [source, message] of [
    ['https://user:secret@git.example/a', /must not hold credentials/],
    ['https://token@git.example/a', /must not hold credentials/],
    ['http://git.example/a', /https:\/\/ or ssh:\/\//],
    ['http://127.0.0.1.git.example/a', /https:\/\/ or ssh:\/\//],
    ['file:///srv/a.git', /allow_file_urls/],
    ['ssh://-oProxyCommand=x/a', /must not begin with -|not a valid git URL/],
    ['git@-oProxyCommand:a', /must not begin with -/],
    ['git://git.example/a', /are not supported/],
    ['ext::sh -c x', /are not supported|not a valid/],
    // Read by us as localhost, and by curl as a user of another host.
    ['http://localhost\\@git.example/a', /not a valid git URL/],
    ['https://git.exa\tmple/a', /not a valid git URL/],
    ['https://git.example#@other.example/a', /not a valid git URL/],
    ['ssh://git@git.example/a b', /not a valid git URL/],
  ] as const)
    assert.throws(() => parseGitUrl(source, { allowFiles: false }), { code: 'source_invalid', message }, source);
  assert.throws(() => parseGitUrl('file://host/a', { allowFiles: true }), { code: 'source_invalid' });
  assert.throws(
    () => parseGitUrl('https://user:secret@git.example/a', { allowFiles: true }),
    (error: Error) => !error.message.includes('secret'),
  );
});

void test('the URLs of one repository have one key', () => {
  const urls = [
    'https://git.example/Team/App.git',
    'https://git.example/team/app',
    'https://git.example:8443/team/app/',
    'ssh://git@git.example:2222/team/app.git',
    'git@git.example:team/app.git',
    'git@GIT.example:/team/app',
  ];
  assert.deepEqual([...new Set(urls.map(repositoryKey))], ['git.example/team/app']);
  assert.notEqual(repositoryKey('https://git.example/team/app2'), 'git.example/team/app');
  assert.equal(repositoryKey('upload:sha256:x'), undefined);
});
