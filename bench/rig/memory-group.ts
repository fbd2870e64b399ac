/** A memory cgroup around one process: what a container's limit is, where this machine lets us make one. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { systemClock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';

export interface MemoryGroup {
  /** Runs what follows it within the group. */
  readonly command: readonly [program: string, ...args: string[]];
  /** Whether the kernel has killed something in it. */
  killed(): boolean;
  /** Used at most, with the kernel's part of it, bytes. */
  peakBytes(): number;
  /** Removes it; nothing may run in it. */
  remove(signal: AbortSignal): Promise<void>;
}

interface Version {
  readonly root: string;
  /** There where the memory of groups can be bounded. */
  readonly mark: string;
  readonly limit: readonly string[];
  readonly events: string;
  readonly peak: string;
}

const versions: readonly Version[] = [
  {
    root: '/sys/fs/cgroup/memory',
    mark: 'memory.limit_in_bytes',
    limit: ['memory.limit_in_bytes'],
    events: 'memory.oom_control',
    peak: 'memory.max_usage_in_bytes',
  },
  {
    root: '/sys/fs/cgroup',
    mark: 'cgroup.controllers',
    limit: ['memory.max'],
    events: 'memory.events',
    peak: 'memory.peak',
  },
];
const removeTries = 20;
const removePauseMs = 100;

/** @returns undefined where none can be made. */
export function makeMemoryGroup(name: string, limitBytes: number): MemoryGroup | undefined {
  const version = versions.find(({ root, mark }) => existsSync(`${root}/${mark}`));
  if (version === undefined) return undefined;
  const folder = `${version.root}/${name}`;
  const read = (file: string): string => readFileSync(`${folder}/${file}`, 'utf8');
  try {
    mkdirSync(folder);
    for (const file of version.limit) writeFileSync(`${folder}/${file}`, String(limitBytes));
    read(version.events);
  } catch {
    if (existsSync(folder)) rmdirSync(folder);
    return undefined;
  }
  return {
    command: ['sh', '-c', `echo $$ > ${folder}/cgroup.procs && exec "$0" "$@"`],
    killed: () => Number(/^oom_kill (\d+)$/m.exec(read(version.events))?.[1] ?? 0) > 0,
    peakBytes: () => (existsSync(`${folder}/${version.peak}`) ? Number(read(version.peak)) : Number.NaN),
    async remove(signal) {
      for (let left = removeTries; ; left -= 1) {
        try {
          rmdirSync(folder);
          return;
        } catch (error) {
          // What has ended in it leaves it in a moment.
          if (left === 0) throw error;
          await sleep(systemClock, removePauseMs, signal);
        }
      }
    },
  };
}
