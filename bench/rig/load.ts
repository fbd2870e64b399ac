/** The loads of bench/forward.ts: wrk where it is installed, else a program of ours; a fixed rate is always ours, in Go where there is Go. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LoadJob, LoadResult } from '../programs/load.ts';
import type { OpenLoopJob } from '../programs/open-loop.ts';
import { buildGo } from './go.ts';
import type { Bench } from './question.ts';

type Rig = Pick<Bench, 'processes' | 'folder' | 'signal' | 'say'>;

export interface Load {
  readonly name: string;
  /** Each connection sends its next request when it has its answer. */
  closed(job: LoadJob): Promise<LoadResult>;
  /** Requests begin at a fixed rate, whatever comes back. */
  open(job: OpenLoopJob): Promise<LoadResult>;
}

export async function createLoad(rig: Rig, cores: string | undefined): Promise<Load> {
  const { processes, signal } = rig;
  const program = async (name: string, job: LoadJob | OpenLoopJob): Promise<LoadResult> => {
    const args = [new URL(`../programs/${name}.ts`, import.meta.url), JSON.stringify(job)];
    return JSON.parse(await processes.output({ name, args, cores })) as LoadResult;
  };
  const openLoop = await buildGo(
    rig,
    'open-loop',
    'its program in TypeScript, which needs more of its core, stands in',
  );
  const open = async (job: OpenLoopJob): Promise<LoadResult> => {
    if (openLoop === undefined) return program('open-loop', job);
    const run = { name: 'open loop', command: openLoop, args: [JSON.stringify(job)], cores };
    return JSON.parse(await processes.output(run)) as LoadResult;
  };
  const hasWrk = await processes.output({ name: 'which wrk', command: 'sh', args: ['-c', 'command -v wrk'] }).then(
    () => true,
    () => false,
  );
  signal.throwIfAborted();
  if (hasWrk) return { name: 'wrk', closed: (job) => runWrk(rig, job, cores), open };
  return { name: 'programs/load.ts', closed: (job) => program('load', job), open };
}

async function runWrk({ processes, folder }: Rig, job: LoadJob, cores: string | undefined): Promise<LoadResult> {
  const script = join(folder, `wrk-${job.bodyBytes}.lua`);
  const post = `wrk.method = "POST"; wrk.body = string.rep("x", ${job.bodyBytes}); wrk.headers["Content-Type"] = "text/plain"\n`;
  const done = `function done(summary, latency)
    io.write(string.format('{"calls":%d,"elapsedMs":%f,"p50Ms":%f,"p99Ms":%f,"errors":%d}\\n', summary.requests,
      summary.duration / 1000, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
      summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
  end\n`;
  await writeFile(script, (job.bodyBytes > 0 ? post : '') + done);
  const seconds = `${Math.max(1, Math.round(job.durationMs / 1_000))}s`;
  const url = `http://127.0.0.1:${job.port}${job.path}`;
  const args = ['-t1', `-c${job.connections}`, `-d${seconds}`, '-s', script, url];
  const output = await processes.output({ name: 'wrk', command: 'wrk', args, cores });
  const line = output.split('\n').find((text) => text.startsWith('{'));
  const result = JSON.parse(line ?? '{"errors":1}') as LoadResult & { readonly errors: number };
  if (result.errors > 0) throw new Error(`wrk on port ${job.port}: ${output}`);
  return result;
}
