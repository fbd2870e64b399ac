/**
 * Builds on a release of its own: the chart's registry with a password and TLS by a private authority, Kaniko's interface in Jobs
 * (test/executor), a git server by https on the host's side, and a proxy for what steps fetch.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite } from 'node:test';
import { certificates } from '../support/certificates.ts';
import { startGitServer, type GitServer } from '../support/git-server.ts';
import { startBuildProxy } from './build-proxy.ts';
import { deploys } from './builds/deploys.ts';
import { buildFailures } from './builds/failures.ts';
import type { BuildGround } from './builds/ground.ts';
import { sources } from './builds/sources.ts';
import { kubectl, registryHost } from './cluster.ts';
import { hostAddress } from './host-address.ts';
import { mirrorOnNode } from './node-mirror.ts';
import { Release } from './release.ts';

const release = new Release('holdfast-builds');
const nodePort = 30_556;
const registry = `holdfast-registry.${release.namespace}.svc`;
const closing: (() => Promise<unknown>)[] = [];
let git: GitServer | undefined;

const ground: BuildGround = {
  release,
  get git() {
    if (git === undefined) throw new Error('the git server is not up');
    return git;
  },
};

async function secret(name: string, files: Readonly<Record<string, string>>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-secret-'));
  try {
    const from: string[] = [];
    for (const [key, text] of Object.entries(files)) {
      await writeFile(join(folder, key), text);
      from.push(`--from-file=${key}=${join(folder, key)}`);
    }
    await kubectl('create', 'secret', 'generic', name, '-n', release.namespace, ...from);
  } finally {
    await rm(folder, { recursive: true });
  }
}

before(async () => {
  await kubectl('delete', 'namespace', release.namespace, release.appsNamespace, '--ignore-not-found');
  await kubectl('create', 'namespace', release.namespace);
  const address = await hostAddress();
  const login = { username: 'builder', password: 'git-password-of-the-test' };
  git = await startGitServer({ address, login });
  const server = git;
  closing.push(() => server.close());
  const proxy = await startBuildProxy(address);
  closing.push(() => proxy.close());

  const folder = await mkdtemp(join(tmpdir(), 'holdfast-pki-'));
  closing.push(() => rm(folder, { recursive: true }));
  const { ca, cert, key } = await certificates(folder, [registry, 'localhost']);
  await secret('registry-tls', { 'tls.crt': cert, 'tls.key': key, 'ca.crt': ca });
  await secret('git-test', { password: login.password, 'ca.crt': git.ca });
  closing.push(await mirrorOnNode(`${registry}:5000`, nodePort, ca));

  await release.install(
    `registry.service.nodePort=${nodePort}`,
    'registry.tls.existingSecret=registry-tls',
    'git.credentials[0].name=test',
    `git.credentials[0].hosts[0]=${git.host}`,
    'git.credentials[0].existingSecret=git-test',
    `git.credentials[0].username=${login.username}`,
    'git.credentials[0].caKey=ca.crt',
    // Base images come from the registry of the cluster, packages through this machine.
    `builder.registryMirrors[0]=${registryHost()}`,
    `builder.insecureRegistries[0]=${registryHost()}`,
    `builder.args.HTTPS_PROXY=${proxy.url}`,
    `builder.args.HTTP_PROXY=${proxy.url}`,
    'builder.resources.memory=768Mi',
  );
});
after(async () => {
  await release
    .uninstall()
    .catch(() => kubectl('delete', 'namespace', release.namespace, release.appsNamespace, '--ignore-not-found'));
  for (const close of closing.toReversed()) await close();
});

suite('sources', () => sources(ground));
suite('failures of builds', () => buildFailures(ground));
// Side by side: two builds at a time, the others in the queue.
suite('deploys', { concurrency: true }, () => deploys(ground));
