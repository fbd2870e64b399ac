/** Repositories of test/repositories, built as images in the cluster by their presets, run there, and called through a router. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { agentMethods } from '../../shared/protocol/methods.ts';
import { callByHttp } from '../../shared/rpc/http-call.ts';
import { builtEntries } from '../repositories/entries.ts';
import { appNameOf, type Entry, failureText, writeFiles } from '../repositories/entry.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { retry } from '../../shared/wait/retry.ts';
import { callAtOnce } from '../support/load.ts';
import { startBuildProxy } from './build-proxy.ts';
import { kubectl, registryHost } from './cluster.ts';
import { hostAddress } from './host-address.ts';
import { mirrorOnNode } from './node-mirror.ts';
import { Release } from './release.ts';

const release = new Release('holdfast-repositories');
const nodePort = 30_557;
/** Bounds all that one repository needs: base image, downloads, building, pulling, starting. */
const deadlineMs = 280_000;
const closing: (() => Promise<unknown>)[] = [];

before(async () => {
  await kubectl('delete', 'namespace', release.namespace, release.appsNamespace, '--ignore-not-found');
  await kubectl('create', 'namespace', release.namespace);
  const proxy = await startBuildProxy(await hostAddress());
  closing.push(() => proxy.close());
  closing.push(await mirrorOnNode(`holdfast-registry.${release.namespace}.svc:5000`, nodePort));
  await release.install(
    `registry.service.nodePort=${nodePort}`,
    `builder.registryMirrors[0]=${registryHost()}`,
    `builder.insecureRegistries[0]=${registryHost()}`,
    `builder.args.HTTPS_PROXY=${proxy.url}`,
    `builder.args.HTTP_PROXY=${proxy.url}`,
    'builder.resources.memory=2Gi',
  );
});
after(async () => {
  await release
    .uninstall()
    .catch(() => kubectl('delete', 'namespace', release.namespace, release.appsNamespace, '--ignore-not-found'));
  for (const close of closing.toReversed()) await close();
});

/** What is told while another agent takes the lead. */
const movedLead = /\b(?:not_leader|link_lost|cancelled|store_unavailable): /;

/** `holdfast deploy`, then a start. @throws why it failed, with the last lines of the log. */
async function deployed(app: string, folder: string): Promise<void> {
  const { code, stderr } = await release.cli('deploy', folder, '--app', app, '--path', `/${app}`);
  if (code !== 0) throw new Error(stderr);
  const { agentUrl: url, token } = release;
  await callByHttp({ url, token, methods: agentMethods }, 'versions.ensure', { app }, { deadlineMs }).catch(
    (error: unknown) => {
      throw new Error(failureText(error), { cause: error });
    },
  );
}

async function deployAndCall(entry: Entry): Promise<void> {
  const app = appNameOf(entry.name);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-repository-'));
  try {
    await writeFiles(folder, entry.files);
    await retry(() => deployed(app, folder), {
      clock: systemClock,
      signal: AbortSignal.timeout(deadlineMs),
      backoff: { minMs: 500, maxMs: 2_000 },
      deadlineMs,
      isPassing: (error) => error instanceof Error && movedLead.test(error.message),
    });
    for (const { path, status = 200, text = '' } of entry.answers) {
      const [record] = await callAtOnce(`${await release.serviceUrl()}/${app}${path}`, 1);
      assert.equal(record?.status, status, `${path}: ${record?.body.slice(0, 2_000) ?? record?.error ?? ''}`);
      assert.ok(record.body.includes(text), `${path} has no ${JSON.stringify(text)}: ${record.body.slice(0, 2_000)}`);
    }
  } finally {
    // Its pods would take the memory of the next ones.
    await release.call('apps.delete', { app }).catch(() => undefined);
    await rm(folder, { recursive: true });
  }
}

void test('repositories built in the cluster', { concurrency: 2 }, async (t) => {
  await Promise.all(builtEntries.map((entry) => t.test(entry.name, () => deployAndCall(entry))));
});
