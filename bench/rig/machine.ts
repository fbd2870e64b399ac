/** The machine under the measurement: its cores, what a process has used of it, and how a report names it. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** Linux counts CPU time for user space in hundredths of a second, whatever the kernel's own tick is. */
const tickMs = 10;

/** CPU time, user and system, of all threads since the start, and of the processes that it has started. */
export function cpuMs(pid: number): number {
  return [pid, ...childrenOf(pid)].reduce((sum, each) => sum + ownCpuMs(each), 0);
}

/** @returns resident memory of a process and the processes that it started. */
export function rssBytes(pid: number): number {
  return [pid, ...childrenOf(pid)].reduce((sum, each) => sum + ownRssBytes(each), 0);
}

function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  } catch {
    // A kernel that does not tell.
    return [];
  }
}

function ownCpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name stands in brackets and may contain anything; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * tickMs;
}

function ownRssBytes(pid: number): number {
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib ?? 0) * 1_024;
}

/** Core of the contender, and cores of all the rest; undefined where there is only one core. */
export function splitCores(): { readonly contender: string; readonly rest: string } | undefined {
  const allowed = /^Cpus_allowed_list:\s+(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  const cores = allowed.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
  const [contender, ...rest] = cores;
  return contender === undefined || rest.length === 0
    ? undefined
    : { contender: String(contender), rest: rest.join(',') };
}

/** Machine, versions, commit and date; the load average tells whether it was quiet. */
export function describeMachine(): string {
  const cores = cpus();
  const parts = [
    `${cores.length} × ${cores[0]?.model.trim() ?? 'unknown CPU'}`,
    `${(totalmem() / 2 ** 30).toFixed(0)} GiB`,
    `Linux ${release().split('.', 2).join('.')}`,
    `Node ${process.versions.node}`,
    `load average before ${loadavg()[0]?.toFixed(2)}`,
    `commit ${commit()}`,
    new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
  ];
  return parts.join(' · ');
}

function commit(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8', stdio: 'pipe' }).trim();
    const changed = git('status', '--porcelain', '--', 'router', 'agent', 'shared') !== '';
    return git('rev-parse', '--short', 'HEAD') + (changed ? ' with changes' : '');
  } catch {
    return 'unknown';
  }
}
