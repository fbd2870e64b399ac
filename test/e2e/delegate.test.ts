/** A delegated builder: `holdfast builder serve` with buildah on this machine, for an agent in the cluster. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { callAtOnce, versionOf } from '../support/load.ts';
import { appOf } from './builds/ground.ts';
import { kubectl, registryHost } from './cluster.ts';
import { hostAddress } from './host-address.ts';
import { Release } from './release.ts';
import { urlsOf } from './scenario.ts';
import { freePort } from '../../shared/net/testing/free-ports.ts';

const release = new Release('holdfast-delegate');
const token = 'token-of-the-delegated-builder';
const closing: (() => Promise<unknown>)[] = [];
let folder = '';

async function startBuilder(address: string): Promise<string> {
  const listen = `${address}:${await freePort(address)}`;
  await writeFile(join(folder, 'token'), token);
  const cli = fileURLToPath(new URL('../../cli/holdfast.mjs', import.meta.url));
  const options = ['--listen', listen, '--token-file', join(folder, 'token'), '--data-dir', join(folder, 'builder')];
  const registry = ['--insecure-registry', registryHost(), '--allow-destination', `${registryHost()}/holdfast`];
  const builder = spawn(process.execPath, [cli, 'builder', 'serve', ...options, ...registry], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  closing.push(async () => {
    builder.kill('SIGTERM');
    if (builder.exitCode === null) await once(builder, 'exit');
  });
  await eventually(20_000, async () => assert.equal((await fetch(`http://${listen}/readyz`)).status, 200));
  return `http://${listen}`;
}

before(async () => {
  await kubectl('delete', 'namespace', release.namespace, release.appsNamespace, '--ignore-not-found');
  await kubectl('create', 'namespace', release.namespace);
  await kubectl('create', 'secret', 'generic', 'builder', '-n', release.namespace, `--from-literal=token=${token}`);
  folder = await mkdtemp(join(tmpdir(), 'holdfast-delegate-'));
  closing.push(() => rm(folder, { recursive: true }));
  const url = await startBuilder(await hostAddress());
  await release.install(
    'registry.enabled=false',
    `externalRegistry.url=${registryHost()}`,
    'externalRegistry.insecure=true',
    'builder.mode=delegate',
    `builder.delegate.url=${url}`,
    'builder.delegate.existingSecret=builder',
  );
});
after(async () => {
  const namespaces = [release.namespace, release.appsNamespace];
  await release.uninstall().catch(() => kubectl('delete', 'namespace', ...namespaces, '--ignore-not-found'));
  for (const close of closing.toReversed()) await close();
});

test('a folder that is deployed is built elsewhere, and the first call is answered; a failing step is told', async () => {
  const source = join(folder, 'source');
  await mkdir(source);
  const write = async (files: Readonly<Record<string, string>>): Promise<void> => {
    for (const [path, text] of Object.entries(files)) {
      // The builder is outside the cluster, where short names mean what they mean to everybody.
      await writeFile(
        join(source, path),
        text.replace('FROM node:24-slim', `FROM ${registryHost()}/library/node:24-slim`),
      );
    }
  };
  await write(appOf('elsewhere'));
  const deploy = () => release.cli('deploy', source, '--app', 'elsewhere', '--path', '/elsewhere');
  const deployed = await deploy();
  assert.equal(deployed.code, 0, deployed.stderr);
  const [url = ''] = await urlsOf(release, 'elsewhere');
  const [record] = await callAtOnce(url, 1, 240_000);
  assert.equal(record && versionOf(record), 'elsewhere', record?.body);
  const { builds } = await release.call('builds.list', {});
  assert.deepEqual(
    builds.map(({ builder, state }) => [builder, state]),
    [['delegate', 'succeeded']],
  );
  const jobs = await kubectl('get', 'jobs', '-n', release.namespace, '-o', 'name');
  assert.equal(jobs.trim(), '');

  await write(appOf('broken', 'RUN echo about to break && exit 7'));
  assert.equal((await deploy()).code, 0);
  const [again] = await callAtOnce(url, 1, 240_000);
  assert.equal(again && versionOf(again), 'elsewhere', again?.body);
  const { versions } = await release.call('versions.list', { app: 'elsewhere' });
  assert.equal(versions[0]?.failure?.code, 'build_failed', versions[0]?.failure?.message);
});
