import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../shared/log.ts';
import { createCredentials, secretsOf } from './credentials.ts';
import { openDockerConfig, parseDockerConfig } from './docker-config.ts';

const { signal } = new AbortController();
const base64 = (text: string): string => Buffer.from(text).toString('base64');

const written = {
  credsStore: 'desktop',
  auths: {
    'https://index.docker.io/v1/': { auth: base64('hub:p:w') },
    'Registry.Example:5000': { username: 'me', password: 'x', email: 'me@example' },
    'registry.example:5000/team/private': { auth: base64('team:y') },
    'https://padded.example/v2/': { auth: base64('padded:z\0\0') },
    'helper.example': {},
    'azure.example': { auth: base64('00000000-0000:'), identitytoken: 'refresh' },
  },
};

test('entries are read as Docker and Kubernetes write them', async () => {
  const file = { entries: () => Promise.resolve(parseDockerConfig(JSON.stringify(written))) };
  const credentials = createCredentials({ own: undefined, file, tokens: undefined });
  const cases: [place: string, username: string | undefined][] = [
    ['docker.io', 'hub'],
    ['docker.io/library/node', 'hub'],
    ['index.docker.io', 'hub'],
    ['registry.example:5000', 'me'],
    ['registry.example:5000/team/other', 'me'],
    ['registry.example:5000/team/private', 'team'],
    ['registry.example:5000/team/private/deep', 'team'],
    ['registry.example:5000/team/privateer', 'me'],
    ['registry.example', undefined],
    ['padded.example', 'padded'],
    ['helper.example', undefined],
    ['azure.example', '00000000-0000'],
  ];
  for (const [place, username] of cases) {
    assert.equal((await credentials.authorizationFor(place, signal))?.username, username, place);
  }
  assert.equal((await credentials.authorizationFor('docker.io', signal))?.password, 'p:w');
  assert.equal((await credentials.authorizationFor('padded.example', signal))?.password, 'z');
  assert.deepEqual(await credentials.dockerConfig(['docker.io', 'azure.example', 'unknown.example'], signal), {
    auths: {
      'https://index.docker.io/v1/': { auth: base64('hub:p:w') },
      'azure.example': { auth: base64('00000000-0000:'), identitytoken: 'refresh' },
    },
  });
});

test('the user of [registry] wins over the file, for its host alone', async () => {
  const file = { entries: () => Promise.resolve(parseDockerConfig(JSON.stringify(written))) };
  const own = { host: 'registry.example:5000', login: { username: 'own', password: 'o' } };
  const credentials = createCredentials({ own, file, tokens: undefined });
  assert.equal((await credentials.authorizationFor('registry.example:5000/team/private', signal))?.username, 'own');
  assert.equal((await credentials.authorizationFor('docker.io', signal))?.username, 'hub');
  const { auths } = await credentials.dockerConfig(undefined, signal);
  assert.equal(auths['registry.example:5000']?.auth, base64('own:o'));
  assert.deepEqual(Object.keys(auths).toSorted(), [
    'azure.example',
    'https://index.docker.io/v1/',
    'padded.example',
    'registry.example:5000',
    'registry.example:5000/team/private',
  ]);
});

test('a file that is no docker config is an error that does not quote it', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-docker-config-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'config.json');
  for (const content of ['secret-password', '{"auths": {"h": {"auth": 7}}}']) {
    await writeFile(file, content);
    await assert.rejects(openDockerConfig(file, silentLog), (error: Error & { code: string }) => {
      assert.equal(error.code, 'config_invalid');
      assert.match(error.message, /registry\.docker_config_file .* it is no docker config\.json$/);
      return true;
    });
  }
  await assert.rejects(openDockerConfig(join(folder, 'none'), silentLog), {
    code: 'config_invalid',
    message: /ENOENT/,
  });
});

test('the secrets of a config.json are its passwords, tokens and what it encodes them as', () => {
  const auth = Buffer.from('me:pass:word').toString('base64');
  const auths = { 'a.example': { auth }, 'b.example': { auth: 'eDo=', identitytoken: 'refresh' } };
  assert.deepEqual(secretsOf({ auths }), [auth, 'pass:word', 'eDo=', '', 'refresh']);
});
