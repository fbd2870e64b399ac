import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseImage } from './reference.ts';

const digest = `sha256:${'0'.repeat(64)}`;

test('references are read as everywhere', () => {
  const cases: [image: string, host: string, repository: string, tag: string, digest?: string][] = [
    ['node', 'docker.io', 'library/node', 'latest'],
    ['node:24-slim', 'docker.io', 'library/node', '24-slim'],
    ['team/app:1', 'docker.io', 'team/app', '1'],
    ['docker.io/node', 'docker.io', 'library/node', 'latest'],
    ['index.docker.io/team/app', 'docker.io', 'team/app', 'latest'],
    ['registry.example/app', 'registry.example', 'app', 'latest'],
    ['registry.example:5000/a/b/c:v1.2', 'registry.example:5000', 'a/b/c', 'v1.2'],
    ['localhost/app', 'localhost', 'app', 'latest'],
    ['Registry.Example/app', 'registry.example', 'app', 'latest'],
    [`registry.example/app:1@${digest}`, 'registry.example', 'app', '1', digest],
    [`app__x--y.z@${digest}`, 'docker.io', 'library/app__x--y.z', 'latest', digest],
  ];
  for (const [image, host, repository, tag, pinned] of cases) {
    assert.deepEqual(parseImage(image), { host, repository, tag, digest: pinned }, image);
  }
});

test('what is no reference is refused', () => {
  const wrong = [
    'Node',
    'a//b',
    'app:',
    'app:a/b:',
    'app:-x',
    'app@sha256:abc',
    'app@md5:0',
    'registry.example/',
    'registry.example/App',
    '-registry.example/app',
    `${'a/'.repeat(200)}b`,
    'a___b',
  ];
  for (const image of wrong) {
    assert.throws(() => parseImage(image), { code: 'image_invalid' }, image);
  }
});
