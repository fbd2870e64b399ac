/** The contract on the process platform: real processes in a folder of the test's own. */
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testPlatformDeps } from '../../agent/testing/process-platform.ts';
import { createProcessPlatform } from '../../agent/platform/process/platform.ts';
import type { Platform } from '../../agent/platform/platform.ts';
import { brokenLine, type Buildable } from './ground.ts';
import { platformContract } from './platform-contract.ts';

const testApp = join(import.meta.dirname, '..', 'apps', 'test-app');

platformContract({
  name: 'process',
  outlivesAgent: false,
  volumes: true,
  deadlines: { startMs: 20_000, failMs: 5_000, stopMs: 15_000 },
  async create() {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-contract-'));
    const dataDir = join(folder, 'data');
    const sources = { 1: join(folder, 'source-1'), 2: join(folder, 'source-2') };
    for (const [content, source] of Object.entries(sources)) {
      await cp(testApp, source, { recursive: true });
      await writeFile(join(source, 'content.txt'), content);
    }
    const open: Platform[] = [];
    const another = async (): Promise<Platform> => {
      const platform = await createProcessPlatform({ ...testPlatformDeps, dataDir });
      open.push(platform);
      return platform;
    };
    return {
      platform: await another(),
      another,
      content: (content) => ({ source: sources[content] }),
      buildable: (kind) => makeBuildable(folder, kind),
      missing: { spec: { source: join(folder, 'not-there') }, code: 'source_invalid' },
      unsupported: { image: 'registry.example/app:1' },
      running: countProcesses,
      async dispose() {
        await Promise.all(open.map((platform) => platform.close()));
        await rm(folder, { recursive: true });
      },
    };
  },
});

/** A folder with a build script that says when it begins, and waits for a file. */
async function makeBuildable(place: string, kind: 'good' | 'broken'): Promise<Buildable> {
  const control = await mkdtemp(join(place, 'build-'));
  const source = join(control, 'source');
  await cp(testApp, source, { recursive: true });
  const scripts = { build: 'node build.mjs', start: 'node server.js' };
  await writeFile(join(source, 'package.json'), JSON.stringify({ type: 'module', scripts }));
  const [begun, gate] = ['begun', 'gate'].map((name) => join(control, name)) as [string, string];
  const script = `
    import { appendFileSync, existsSync } from 'node:fs';
    appendFileSync(${JSON.stringify(begun)}, 'x');
    while (!existsSync(${JSON.stringify(gate)})) await new Promise((resolve) => setTimeout(resolve, 20));
    ${kind === 'good' ? '' : `console.error(${JSON.stringify(brokenLine)}); process.exitCode = 3;`}`;
  await writeFile(join(source, 'build.mjs'), script);
  return {
    spec: { source },
    begun: async () => (await readFile(begun, 'utf8').catch(() => '')).length,
    letEnd: () => writeFile(gate, ''),
  };
}

/** Processes whose environment names the app: what the platform believes does not count. */
async function countProcesses(app: string): Promise<number> {
  const marker = `HOLDFAST_APP=${app}`;
  let count = 0;
  for (const pid of await readdir('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    // A process that has just ended cannot be read; a zombie has an empty environment.
    const [environment, command] = await Promise.all(
      ['environ', 'cmdline'].map((file) => readFile(join('/proc', pid, file), 'utf8').catch(() => '')),
    );
    if (environment?.split('\0').includes(marker) === true && command?.startsWith('node\0') === true) count += 1;
  }
  return count;
}
