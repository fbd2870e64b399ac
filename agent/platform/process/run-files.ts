/**
 * What runs, on disk, so that an agent that comes up finds what one before it left behind. The guard makes that rare;
 * this is for the day the guard itself was killed. A pid alone is not proof: the kernel gives it to others later, so the
 * boot and the start time that /proc tells must be the same. Where there is no /proc nothing is killed.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

const runFile = z.strictObject({ pid: z.int().min(2), startTicks: z.string(), boot: z.string() });

export interface RunFiles {
  /** Synchronous, and so done before anything else can happen. */
  add(id: string, pid: number): void;
  remove(id: string): void;
  /** Kills the groups of recorded processes that are not in `except`; returns their ids. */
  killLeftovers(except: ReadonlySet<string>): Promise<string[]>;
}

export function createRunFiles(options: { readonly folder: string }): RunFiles {
  const { folder } = options;
  mkdirSync(folder, { recursive: true });
  return {
    add(id, pid) {
      const identity = identify(pid);
      if (identity === undefined) return;
      attempt(() => writeFileSync(join(folder, `${id}.json`), JSON.stringify({ pid, ...identity })));
    },
    remove(id) {
      attempt(() => rmSync(join(folder, `${id}.json`), { force: true }));
    },
    async killLeftovers(except) {
      const killed: string[] = [];
      for (const name of await readdir(folder)) {
        const id = name.replace(/\.json$/, '');
        if (except.has(id)) continue;
        const file = join(folder, name);
        const record = runFile.safeParse(parseJson(await readFile(file, 'utf8').catch(() => '')));
        if (record.success && isSame(record.data) && killGroup(record.data.pid)) killed.push(id);
        await rm(file, { force: true });
      }
      return killed;
    },
  };
}

/** A full disk must not keep an app from running: the guard is there all the same. */
function attempt(write: () => void): void {
  try {
    write();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}

function isSame(record: z.output<typeof runFile>): boolean {
  const now = identify(record.pid);
  return now !== undefined && now.startTicks === record.startTicks && now.boot === record.boot;
}

/** proc(5): after the name in parentheses, which may hold anything, field 22 (starttime) is the twentieth. */
function identify(pid: number): { startTicks: string; boot: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    return startTicks === undefined ? undefined : { startTicks, boot };
  } catch {
    return undefined;
  }
}

function killGroup(pid: number): boolean {
  try {
    process.kill(-pid, 'SIGKILL');
    return true;
  } catch {
    return false;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
