/**
 * `npm test` runs every part of the tests unattended. `--only PART[,PART]` runs some, `--no-cluster` skips those that need
 * Kubernetes. It fails when a test failed or was skipped, and when something that the run started is still there at its end.
 */
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { shareCaches } from './runner/caches.ts';
import { openCluster, type TestCluster } from './runner/cluster.ts';
import { output } from './runner/command.ts';
import { leftInFolder, leftOfCluster, leftProcesses } from './runner/leftovers.ts';
import { passed, runPart, type PartResult } from './runner/node-test.ts';
import { parts, type Ground, type Part } from './runner/parts.ts';
import { startPostgres, type TestPostgres } from './runner/postgres.ts';
import { providePrograms } from './runner/programs.ts';

const beganMs = performance.now();
const setupTimes: string[] = [];

/** Makes TMPDIR of the run, which also marks its processes. Other users may enter it, because Postgres runs as one. */
function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'hf-test-'));
  chmodSync(folder, 0o711);
  return folder;
}

function choose(): Part[] {
  const { values } = parseArgs({
    options: { only: { type: 'string', multiple: true }, 'no-cluster': { type: 'boolean', default: false } },
  });
  const names = values.only?.flatMap((list) => list.split(','));
  const unknown = names?.filter((name) => parts.every((part) => part.name !== name)) ?? [];
  if (unknown.length > 0) {
    throw new Error(`no part ${unknown.join(', ')}; there are ${parts.map(({ name }) => name).join(', ')}`);
  }
  return parts.filter(
    (part) => (names?.includes(part.name) ?? true) && !(values['no-cluster'] && part.needs.includes('cluster')),
  );
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const startMs = performance.now();
  try {
    return await work();
  } finally {
    setupTimes.push(`${what} ${seconds(performance.now() - startMs)}`);
  }
}

async function runAll(chosen: readonly Part[], folder: string, signal: AbortSignal): Promise<{ ok: boolean }> {
  const env: NodeJS.ProcessEnv = { ...process.env, ...shareCaches(folder), TMPDIR: folder };
  const results: PartResult[] = [];
  const problems: string[] = [];
  let programs: NodeJS.ProcessEnv | undefined;
  let postgres: TestPostgres | undefined;
  let cluster: TestCluster | undefined;

  const grounds: Record<Ground, () => Promise<NodeJS.ProcessEnv>> = {
    helm: async () => {
      await timed('helm', () => output('test/cluster/tools', ['helm'], { env, signal }));
      return {};
    },
    programs: async () => (programs ??= await timed('programs', () => providePrograms({ env, signal }))),
    postgres: async () => {
      postgres ??= await timed('postgres', () => startPostgres({ folder, env, signal }));
      return { HOLDFAST_TEST_DATABASE_URL: postgres.url };
    },
    cluster: async () => {
      cluster ??= await openCluster({ env, signal, timed });
      return { KUBECONFIG: cluster.kubeconfig, HOLDFAST_TEST_REGISTRY: cluster.registry };
    },
  };
  try {
    for (const part of chosen) {
      process.stdout.write(`\n# ${part.name}\n`);
      const more = [];
      for (const ground of part.needs) more.push(await grounds[ground]());
      const result = await runPart(part, { env: Object.assign({}, env, ...more) as NodeJS.ProcessEnv, signal });
      if (result === undefined) process.stdout.write('no files\n');
      else results.push(result);
    }
  } catch (error) {
    problems.push(signal.aborted ? 'interrupted' : `could not go on: ${(error as Error).message}`);
  } finally {
    await postgres?.close();
    await timed('down', async () => cluster?.close());
  }
  const left = cleanUp(folder, cluster);
  // Tests that were interrupted always leave something.
  if (!signal.aborted) problems.push(...left);
  report(results, problems);
  return { ok: problems.length === 0 && results.length > 0 && results.every(passed) };
}

/** Ends and removes what the run left behind. @returns a line for each. */
function cleanUp(folder: string, cluster: TestCluster | undefined): string[] {
  const left = leftProcesses(folder).map(({ pid, command, listens }) => {
    process.kill(pid, 'SIGKILL');
    return `left behind: process ${pid} ${listens.join(' ')} ${command.slice(0, 200)}`;
  });
  if (cluster?.ownName !== undefined) {
    const root = process.env['STATE_ROOT'] ?? '/var/lib/one-node-kube';
    left.push(...leftOfCluster(cluster.ownName, root).map((what) => `left behind: ${what}`));
  }
  left.push(...leftInFolder(folder).map((what) => `left behind: ${what}`));
  rmSync(folder, { recursive: true, force: true });
  return left;
}

function report(results: readonly PartResult[], problems: readonly string[]): void {
  const counters = ['tests', 'pass', 'fail', 'cancelled', 'skipped', 'todo'] as const;
  const sum = (counter: (typeof counters)[number] | 'elapsedMs'): number =>
    results.reduce((total, result) => total + result[counter], 0);
  const line = (name: string, cells: readonly string[]): string =>
    `${name.padEnd(12)}${cells.map((cell) => cell.padStart(10)).join('')}`;
  const rows = [
    line('part', [...counters, 'time']),
    ...results.map((result) =>
      line(result.part, [...counters.map((counter) => String(result[counter])), seconds(result.elapsedMs)]),
    ),
    line('total', [...counters.map((counter) => String(sum(counter))), seconds(performance.now() - beganMs)]),
    ...(setupTimes.length > 0 ? [`ground: ${setupTimes.join(', ')}`] : []),
    ...problems,
  ];
  process.stdout.write(`\n${rows.join('\n')}\n`);
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(1)} s`;
}

const interrupt = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => interrupt.abort());
try {
  const chosen = choose();
  const { ok } = await runAll(chosen, makeFolder(), interrupt.signal);
  process.stdout.write(ok ? 'all passed\n' : 'FAILED\n');
  process.exitCode = interrupt.signal.aborted ? 130 : ok ? 0 : 1;
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 2;
}
