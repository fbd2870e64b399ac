import assert from 'node:assert/strict';
import { test } from 'node:test';
import { presetCommand, presetFiles } from './testing/made.ts';
import { testTree } from './testing/tree.ts';

async function dockerfileOf(files: Readonly<Record<string, string>>): Promise<string[]> {
  const { dockerfile } = await presetFiles('go', testTree(files));
  return dockerfile.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

const main = 'package main\n';

void test('modules have a layer of their own, and the last stage holds the program, TLS roots and folders read at run time', async () => {
  const files = {
    'go.mod': 'module x\n\nrequire a v1\n',
    'go.sum': '',
    'main.go': main,
    'templates/a.html': '',
    'docs/a.md': '',
  };
  assert.deepEqual(await dockerfileOf(files), [
    'FROM golang:1.26 AS build',
    'WORKDIR /app',
    'ENV CGO_ENABLED=0',
    'COPY go.mod go.sum ./',
    'RUN go mod download',
    'COPY . ./',
    "RUN go build -trimpath -tags timetzdata -ldflags '-s -w' -o .holdfast-bin/app .",
    'RUN mkdir -p -m 1777 /out/tmp',
    'FROM scratch',
    'ENV HOME=/tmp PORT=8080',
    'COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/',
    'COPY --from=build /out /',
    'WORKDIR /app',
    'COPY --from=build /app/.holdfast-bin ./.holdfast-bin/',
    'COPY templates ./templates/',
    'USER 1000:1000',
    'EXPOSE 8080',
    'CMD ["./.holdfast-bin/app"]',
  ]);
});

void test('modules that are vendored, in the tree, or none at all are not downloaded before the tree is there', async () => {
  for (const files of [
    { 'go.mod': 'module x\n' },
    { 'go.mod': 'module x\nrequire a v1\nreplace a => ./a\n' },
    { 'go.mod': 'module x\nrequire a v1\nreplace (\n\ta v1 => ../a\n)\n' },
    { 'go.mod': 'module x\nrequire a v1\n', 'vendor/modules.txt': '' },
  ]) {
    assert.equal((await dockerfileOf({ ...files, 'main.go': main }))[3], 'COPY . ./');
  }
});

void test('the program is the one in the root, or the one in cmd/ that is a server', async () => {
  const program = async (files: Readonly<Record<string, string>>): Promise<string | undefined> =>
    (await presetCommand('go', testTree({ 'go.mod': 'module example.org/shop\n', ...files }))).install[0]?.at(-1);
  assert.equal(await program({ 'x.go': main, 'cmd/a/main.go': main }), '.');
  assert.equal(
    await program({ 'x.go': 'package x\n', 'cmd/a/main.go': main, 'cmd/lib/a.go': 'package lib\n' }),
    './cmd/a',
  );
  assert.equal(await program({ 'cmd/a/main.go': main, 'cmd/server/main.go': main }), './cmd/server');
  assert.equal(await program({ 'cmd/a/main.go': main, 'cmd/shop/main.go': main }), './cmd/shop');
  assert.equal(await program({ 'x_test.go': main, 'cmd/a/main.go': `// x\n\n${main}` }), './cmd/a');
  await assert.rejects(program({ 'cmd/a/main.go': main, 'cmd/b/main.go': main }), {
    code: 'dockerfile_invalid',
    message: /a, b/,
  });
});

void test('nothing is downloaded on its own where a module of a workspace requires another one of it', async () => {
  const files = {
    'go.work': 'go 1.22\n\nuse (\n\t./lib\n\t./svc\n)\n',
    'lib/go.mod': 'module example.org/lib\n',
    'lib/lib.go': 'package lib\n',
    'svc/main.go': main,
  };
  const installs = async (required: string): Promise<boolean> =>
    (await dockerfileOf({ ...files, 'svc/go.mod': `module example.org/svc\n\nrequire ${required}\n` })).includes(
      'RUN go mod download',
    );
  assert.equal(await installs('example.org/lib v0.0.0'), false);
  assert.equal(await installs('example.org/other v1.2.3'), true);
});
