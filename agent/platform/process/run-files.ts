/**
 * The running processes, on disk, so that an agent finds at its start what an earlier one left behind. That is rare because of the guard, and
 * happens only when the guard itself was killed. A pid alone is no proof, since the kernel reuses it: the boot id and the start time in /proc
 * must be the same. Without /proc nothing is killed.
 */
import { readdir, readFile, rm } from 'node:fs/promises';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { parseJson } from '../../../shared/json.ts';

const runFile = z.strictObject({ pid: z.int().min(2), startTicks: z.string(), boot: z.string() });

export function createRunFiles(options: { readonly folder: string }) {
  const { folder } = options;
  mkdirSync(folder, { recursive: true });
  return {
    /** Synchronous, so that it is done before anything else can happen. */
    add(id: string, pid: number): void {
      const identity = identify(pid);
      if (identity === undefined) return;
      attempt(() => writeFileSync(join(folder, `${id}.json`), JSON.stringify({ pid, ...identity })));
    },
    remove(id: string): void {
      attempt(() => rmSync(join(folder, `${id}.json`), { force: true }));
    },
    /** Kills the groups of recorded processes that are not in `except`. @returns their ids. */
    async killLeftovers(except: ReadonlySet<string>): Promise<string[]> {
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

export type RunFiles = ReturnType<typeof createRunFiles>;

/** Ignores errors of the file system: a full disk must not keep an app from running, and the guard still protects. */
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

/** See proc(5): counted after the name in parentheses, which may contain anything, field 22 (starttime) is the twentieth. */
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
