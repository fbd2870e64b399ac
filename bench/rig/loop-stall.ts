/** Asks a process that runs with bench/programs/loop-watch.ts how long its event loop stood still. */
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from './until.ts';

export interface LoopStall {
  /** Longest time between two turns of the loop. */
  readonly wallMs: number;
  /** Most processor time of its thread between two looks, 4 ms apart. */
  readonly cpuMs: number;
  readonly ticks: number;
  readonly heapBytes: number;
}

export function loopFile(pid: number): string {
  return join(tmpdir(), `holdfast-bench-loop-${pid}.json`);
}

/** Since it was last asked. */
export async function loopStall(pid: number, signal: AbortSignal): Promise<LoopStall> {
  const file = loopFile(pid);
  rmSync(file, { force: true });
  process.kill(pid, 'SIGUSR2');
  await until({ withinMs: 10_000, everyMs: 5, what: 'a word of the event loop', signal }, async () =>
    Promise.resolve(existsSync(file)),
  );
  const told = JSON.parse(readFileSync(file, 'utf8')) as LoopStall;
  rmSync(file, { force: true });
  return told;
}
