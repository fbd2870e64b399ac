/** What does a forwarded call cost? The router as shipped against Go's ReverseProxy and against node:http with undici. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { LoadJob, LoadResult } from './programs/load.ts';
import { startFakeAgent } from './rig/fake-agent.ts';
import { cpuMs, rssBytes, splitCores } from './rig/machine.ts';
import type { Running } from './rig/processes.ts';
import type { Bench, Question } from './rig/question.ts';
import { startRouter } from './rig/router.ts';
import { median, spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';

const connections = 32;
const warmUpMs = 2_000;
const jobs = [
  { name: 'GET, 128 B back', path: '/bench/small', bodyBytes: 0 },
  { name: 'POST 1 KiB, 128 B back', path: '/bench/small', bodyBytes: 1_024 },
] as const;

interface Contender {
  readonly name: string;
  readonly process: Running;
}

interface Sample extends LoadResult {
  readonly perSecond: number;
  readonly cpuUsPerCall: number;
  readonly rssMb: number;
}

export const forward: Question = async (bench) => {
  const { options, say } = bench;
  const cores = splitCores();
  const backend = await bench.processes.start({
    name: 'backend',
    args: [new URL('programs/backend.ts', import.meta.url)],
    cores: cores?.rest,
  });
  // The first one is what the others are compared with.
  const contenders = await startContenders(bench, backend.hello.port, cores?.contender);

  const load = async (port: number, job: (typeof jobs)[number], durationMs: number): Promise<LoadResult> => {
    const { path, bodyBytes } = job;
    const task: LoadJob = { port, path, bodyBytes, connections, durationMs };
    const args = [new URL('programs/load.ts', import.meta.url), JSON.stringify(task)];
    return JSON.parse(await bench.processes.output({ name: 'load', args, cores: cores?.rest })) as LoadResult;
  };
  const sample = async ({ process: { pid, hello } }: Contender, job: (typeof jobs)[number]): Promise<Sample> => {
    const cpuBeforeMs = cpuMs(pid);
    const result = await load(hello.port, job, options.seconds * 1_000);
    return {
      ...result,
      perSecond: (result.calls / result.elapsedMs) * 1_000,
      cpuUsPerCall: ((cpuMs(pid) - cpuBeforeMs) * 1_000) / result.calls,
      rssMb: rssBytes(pid) / 1e6,
    };
  };

  for (const { process } of contenders) {
    for (const job of jobs) await load(process.hello.port, job, Math.min(warmUpMs, options.seconds * 1_000));
  }
  const samples = new Map<string, Sample[]>();
  for (let round = 0; round < options.rounds; round += 1) {
    for (const job of jobs) {
      // Each goes first in its turn.
      for (let turn = 0; turn < contenders.length; turn += 1) {
        const contender = contenders[(turn + round) % contenders.length];
        if (contender === undefined) continue;
        const key = keyOf(job.name, contender.name);
        samples.set(key, [...(samples.get(key) ?? []), await sample(contender, job)]);
      }
    }
    say(`forward: round ${round + 1} of ${options.rounds}`);
  }
  return report(
    contenders.map(({ name }) => name),
    samples,
    options,
    cores !== undefined,
  );
};

async function startContenders(bench: Bench, backendPort: number, cores: string | undefined): Promise<Contender[]> {
  const { processes } = bench;
  const origin = `http://127.0.0.1:${backendPort}`;
  const node = async (name: string, file: URL): Promise<Contender> => ({
    name,
    process: await processes.start({ name, args: [file, origin], cores }),
  });
  const token = randomBytes(24).toString('hex');
  const agent = await startFakeAgent({
    token,
    route: {
      app: 'bench',
      host: '',
      path: '/bench',
      stripPath: true,
      version: 1,
      serving: {
        state: 'ready',
        targets: [{ id: 'backend', host: '127.0.0.1', port: backendPort }],
        pending: null,
        timings: { buildMs: null, rolloutMs: null },
      },
      holdMaxCalls: 5_000,
      holdTimeoutMs: 60_000,
      maxConcurrency: 0,
    },
  });
  bench.after(() => agent.close());
  const base =
    (await startGo(bench, origin, cores)) ??
    (await node('node:http + http.request', new URL('peers/request-proxy.ts', import.meta.url)));
  const undici = await node('node:http + undici', new URL('peers/undici-proxy.ts', import.meta.url));
  const router = await startRouter(bench, { agentUrl: agent.url, token, cores });
  return [base, undici, { name: 'Holdfast router', process: router }];
}

/** @returns undefined where there is no Go. */
async function startGo(bench: Bench, origin: string, cores: string | undefined): Promise<Contender | undefined> {
  const { processes, folder, say } = bench;
  const name = "Go's httputil.ReverseProxy";
  const program = join(folder, 'reverse-proxy');
  let version;
  try {
    const build = { name: 'go build', command: 'go', args: ['build', '-o', program, '.'] };
    await processes.output({ ...build, cwd: 'bench/peers/reverse-proxy' });
    version = await processes.output({ name: 'go env', command: 'go', args: ['env', 'GOVERSION'] });
  } catch (error) {
    bench.signal.throwIfAborted();
    say(`forward: Go's ReverseProxy is left out: ${(error as Error).message}`);
    return undefined;
  }
  const process = await processes.start({ name, command: program, args: [origin], cores });
  return { name: `${name} (${version.trim()})`, process };
}

function report(
  names: readonly string[],
  samples: ReadonlyMap<string, readonly Sample[]>,
  { rounds, seconds }: Bench['options'],
  pinned: boolean,
): string {
  const head = ['work', 'contender', 'calls/s, ratio', 'CPU a call, ratio', 'calls/s', 'CPU a call, µs', 'p50 ms'];
  const rows = jobs.flatMap((job) => {
    const base = samples.get(keyOf(job.name, names[0] ?? '')) ?? [];
    return names.map((name) => {
      const own = samples.get(keyOf(job.name, name)) ?? [];
      const all = (key: keyof Sample): number[] => own.map((sample) => sample[key]);
      const ratios = (key: keyof Sample): number[] =>
        own.map((sample, round) => sample[key] / (base[round]?.[key] ?? Number.NaN));
      return [
        job.name,
        name,
        spread(ratios('perSecond'), 2),
        spread(ratios('cpuUsPerCall'), 2),
        median(all('perSecond')).toFixed(0),
        median(all('cpuUsPerCall')).toFixed(0),
        median(all('p50Ms')).toFixed(2),
        median(all('p99Ms')).toFixed(2),
        median(all('rssMb')).toFixed(0),
      ];
    });
  });
  const pins = pinned
    ? 'each contender alone on one core, load and backend on the rest'
    : 'not pinned: there is one core only, so ratios are flattened by load and backend';
  return `${rounds} interleaved rounds of ${seconds} s, ${connections} connections, ${pins}. Ratios are to ${names[0]}: median (least–most) of in-round ratios.

${table([...head, 'p99 ms', 'memory, MB'], rows)}`;
}

function keyOf(job: string, contender: string): string {
  return `${job} ${contender}`;
}
