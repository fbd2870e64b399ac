/** What the scenarios share: the release, an app file for the test app, load through both routers, and waiting. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import type { VersionView } from '../../shared/protocol/views.ts';
import { eventually } from '../../shared/wait/testing/eventually.ts';
import { outcomes, startLoad, versionOf, type CallRecord, type Load } from '../support/load.ts';
import { registryHost } from './cluster.ts';
import type { CliResult, Release } from './release.ts';

/** Each scenario is a file that registers its tests on the one release of the run. */
export type Scenario = (release: Release) => void;

export interface AppOptions {
  readonly name: string;
  /** The version that the app reports; by default the test passes its number. */
  readonly says: string;
  readonly mode?: 'ok' | 'crash' | 'never-ready' | 'slow' | 'unhealthy';
  /** Start time in mode slow; 1,500 by default. */
  readonly delayMs?: number;
  readonly image?: string;
  /** Further lines of `[[app]]`. */
  readonly keys?: string;
  /** Lines of `[app.config]`. */
  readonly config?: string;
}

export function appFile(options: AppOptions): string {
  const { name, says, mode = 'ok', delayMs = 1_500, image = testImage(), keys = '', config = '' } = options;
  return `[[app]]
name = "${name}"
path = "/${name}"
image = "${image}"
health_url = "/healthz"
env = { VERSION = "${says}", MODE = "${mode}", DELAY_MS = "${delayMs}" }
${keys}
[app.config]
${config}
`;
}

export function testImage(tag = '1'): string {
  return `${registryHost()}/library/test-app:${tag}`;
}

/** `holdfast apply -f FILE`, with the file deleted again. */
export async function apply(release: Release, file: string): Promise<CliResult> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-e2e-'));
  try {
    await writeFile(join(folder, 'app.toml'), file);
    return await release.cli('apply', '-f', join(folder, 'app.toml'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

export async function applied(release: Release, options: AppOptions): Promise<void> {
  const { code, stderr } = await apply(release, appFile(options));
  assert.equal(code, 0, stderr);
}

export async function urlsOf(release: Release, app: string): Promise<string[]> {
  return (await release.routerUrls()).map((url) => `${url}/${app}/`);
}

/** 50 calls per second through both routers, until stopped or the test ends; warm when this resolves. */
export async function warmLoad(t: TestContext, release: Release, app: string): Promise<Load> {
  const load = startLoad({ urls: await urlsOf(release, app), callsPerSecond: 50 });
  t.after(() => load.stop());
  await eventually(60_000, () => assert.ok(load.records.length > 20, 'the app does not answer yet'));
  return load;
}

export function said(load: { readonly records: readonly CallRecord[] }, what: string): boolean {
  return load.records.some((record) => versionOf(record) === what);
}

export async function until(
  withinMs: number,
  condition: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  await eventually(withinMs, async () => assert.ok(await condition(), what));
}

export function allAnswered(records: readonly CallRecord[]): void {
  assert.deepEqual(Object.keys(outcomes(records)), ['200'], JSON.stringify(outcomes(records)));
}

/** The newest version, once it has failed. */
export async function newestFailed(release: Release, app: string, withinMs: number): Promise<VersionView> {
  return eventually(withinMs, async () => {
    const [version] = (await release.call('versions.list', { app })).versions;
    assert.equal(version?.state, 'failed');
    return version;
  });
}
