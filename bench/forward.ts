/**
 * What does a forwarded call cost? The router as shipped against Go's ReverseProxy, nginx, HAProxy and node:http with undici,
 * in closed loops, beside idle connections, and at a fixed rate.
 */
import type { LoadResult } from './programs/load.ts';
import { Callers } from './rig/callers.ts';
import { haproxyName, nginxName, routerName, startContenders, type Contender } from './rig/contenders.ts';
import { createLoad } from './rig/load.ts';
import { cpuMs, rssBytes, splitCores } from './rig/machine.ts';
import type { Bench, Question } from './rig/question.ts';
import { startNginxBackend } from './rig/servers.ts';
import { median, spread } from './rig/statistics.ts';
import { table } from './rig/table.ts';

const connections = 32;
const idleConnections = 1_000;
const warmUpMs = 2_000;

interface Job {
  readonly name: string;
  readonly path: string;
  readonly bodyBytes: number;
  readonly idle: number;
}

const small: Job = { name: 'GET, 128 B back', path: '/bench/small', bodyBytes: 0, idle: 0 };
const jobs: readonly Job[] = [
  small,
  { name: 'GET, 64 KiB back', path: '/bench/large', bodyBytes: 0, idle: 0 },
  { name: 'POST 1 KiB, 128 B back', path: '/bench/small', bodyBytes: 1_024, idle: 0 },
  {
    name: `GET, 128 B back, beside ${idleConnections} idle connections`,
    path: '/bench/small',
    bodyBytes: 0,
    idle: idleConnections,
  },
];
const openName = `GET, 128 B back, at half of what the router can do`;

interface Sample extends LoadResult {
  readonly perSecond: number;
  readonly cpuUsPerCall: number;
  readonly rssMb: number;
}

export const forward: Question = async (bench) => {
  const { options, say, signal, processes } = bench;
  const cores = splitCores();
  const backend =
    (await startNginxBackend(bench, cores?.rest)) ??
    (await processes.start({
      name: 'backend',
      args: [new URL('programs/backend.ts', import.meta.url)],
      cores: cores?.rest,
    }));
  // The first one is what the others are compared with.
  const contenders = await startContenders(bench, backend.hello.port, cores?.contender);
  const load = await createLoad(bench, cores?.rest);
  const durationMs = options.seconds * 1_000;

  const measure = async ({ process }: Contender, run: (port: number) => Promise<LoadResult>): Promise<Sample> => {
    const { pid, hello } = process;
    const cpuBeforeMs = cpuMs(pid);
    const result = await run(hello.port);
    return {
      ...result,
      perSecond: (result.calls / result.elapsedMs) * 1_000,
      cpuUsPerCall: ((cpuMs(pid) - cpuBeforeMs) * 1_000) / result.calls,
      rssMb: rssBytes(pid) / 1e6,
    };
  };
  const closed = async (contender: Contender, { path, bodyBytes, idle }: Job, ms: number): Promise<Sample> => {
    const { port } = contender.process.hello;
    const callers = await Callers.connect({ port }, idle, signal);
    try {
      if (idle > 0) {
        callers.send(path);
        await callers.answered();
      }
      return await measure(contender, () => load.closed({ port, path, bodyBytes, connections, durationMs: ms }));
    } finally {
      callers.close();
    }
  };

  for (const contender of contenders) {
    for (const job of jobs) await closed(contender, job, Math.min(warmUpMs, durationMs));
  }
  const samples = new Map<string, Sample[]>();
  const keep = (job: string, { name }: Contender, sample: Sample): void => {
    const key = keyOf(job, name);
    samples.set(key, [...(samples.get(key) ?? []), sample]);
  };
  for (let round = 0; round < options.rounds; round += 1) {
    // Each goes first in its turn.
    const turn = contenders.map((_, index) => contenders[(index + round) % contenders.length] as Contender);
    for (const job of jobs) {
      for (const contender of turn) keep(job.name, contender, await closed(contender, job, durationMs));
    }
    const capacity = samples.get(keyOf(small.name, routerName))?.at(-1)?.perSecond ?? 1_000;
    for (const contender of turn) {
      const { path } = small;
      const perSecond = Math.round(capacity / 2);
      const run = (port: number): Promise<LoadResult> => load.open({ port, path, connections, perSecond, durationMs });
      keep(openName, contender, await measure(contender, run));
    }
    say(`forward: round ${round + 1} of ${options.rounds}`);
  }
  return report(
    contenders.map(({ name }) => name),
    samples,
    options,
    { pinned: cores !== undefined, load: load.name },
  );
};

function report(
  names: readonly string[],
  samples: ReadonlyMap<string, readonly Sample[]>,
  { rounds, seconds }: Bench['options'],
  { pinned, load }: { readonly pinned: boolean; readonly load: string },
): string {
  const base = names[0] ?? '';
  /** In-round ratios of one contender to another. */
  const ratios = (job: string, name: string, to: string, key: keyof Sample): string => {
    const own = samples.get(keyOf(job, name)) ?? [];
    const other = samples.get(keyOf(job, to));
    if (other === undefined) return '–';
    return spread(
      own.map((sample, round) => sample[key] / (other[round]?.[key] ?? Number.NaN)),
      2,
    );
  };
  const rowOf = (job: string, name: string): string[] => {
    const own = samples.get(keyOf(job, name)) ?? [];
    const all = (key: keyof Sample): number[] => own.map((sample) => sample[key]);
    return [
      median(all('perSecond')).toFixed(0),
      median(all('cpuUsPerCall')).toFixed(0),
      median(all('p50Ms')).toFixed(2),
      median(all('p99Ms')).toFixed(2),
      median(all('rssMb')).toFixed(0),
    ];
  };
  const figures = ['calls/s', 'CPU a call, µs', 'p50 ms', 'p99 ms', 'memory, MB'];
  const closedTable = table(
    ['work', 'contender', 'calls/s, to Go', 'to nginx', 'to HAProxy', 'CPU a call, to Go', 'to nginx', ...figures],
    jobs.flatMap((job) =>
      names.map((name) => [
        job.name,
        name,
        ...[base, nginxName, haproxyName].map((to) => ratios(job.name, name, to, 'perSecond')),
        ...[base, nginxName].map((to) => ratios(job.name, name, to, 'cpuUsPerCall')),
        ...rowOf(job.name, name),
      ]),
    ),
  );
  const openTable = table(
    ['work', 'contender', 'p99, to nginx', 'CPU a call, to nginx', ...figures],
    names.map((name) => [
      openName,
      name,
      ratios(openName, name, nginxName, 'p99Ms'),
      ratios(openName, name, nginxName, 'cpuUsPerCall'),
      ...rowOf(openName, name),
    ]),
  );
  const pins = pinned
    ? 'each contender alone on one core, load and backend on the rest'
    : 'not pinned: there is one core only, so ratios are flattened by load and backend';
  return `${rounds} interleaved rounds of ${seconds} s, ${connections} connections, load by ${load}, ${pins}. Ratios are median (least–most) of in-round ratios; Go is ${base}.

${closedTable}

${openTable}`;
}

function keyOf(job: string, contender: string): string {
  return `${job} ${contender}`;
}
