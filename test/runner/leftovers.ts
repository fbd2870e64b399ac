/** What a test run has left behind: processes and their sockets, mounts, network namespaces, links, cgroups, files. */
import { existsSync, globSync, readFileSync, readlinkSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { tsxFolder } from './caches.ts';

interface LeftProcess {
  readonly pid: number;
  readonly command: string;
  readonly listens: readonly string[];
}

/**
 * Processes of the run: everything it starts gets the run's own temporary folder by TMPDIR, so that the folder is in a
 * process's environment, command line or working directory.
 */
export function leftProcesses(folder: string): LeftProcess[] {
  const ports = listeningPorts();
  const found: LeftProcess[] = [];
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
    const traces = [command, read(`/proc/${pid}/environ`), link(`/proc/${pid}/cwd`)];
    if (command === '' || !traces.some((trace) => trace.includes(folder))) continue;
    const sockets = globSync(`/proc/${pid}/fd/*`).map((fd) => /^socket:\[(\d+)\]$/.exec(link(fd))?.[1]);
    found.push({ pid, command, listens: sockets.flatMap((inode) => ports.get(inode ?? '') ?? []) });
  }
  return found;
}

/** @returns what is left of a cluster that the run started. */
export function leftOfCluster(name: string, stateRoot: string): string[] {
  const state = join(stateRoot, name);
  const mounts = read('/proc/mounts').split('\n');
  return [
    ...(existsSync(state) ? [`folder ${state}`] : []),
    ...mounts.filter((line) => line.includes(`${state}/`)).map((line) => `mount ${line}`),
    ...(existsSync(`/var/run/netns/${name}`) ? [`network namespace ${name}`] : []),
    ...(existsSync(`/sys/class/net/${name}-h`) ? [`link ${name}-h`] : []),
    ...globSync(`/sys/fs/cgroup/{,*/}${name}`).map((path) => `cgroup ${path}`),
  ];
}

/** Mounts into the run's folder, and what lies in it. */
export function leftInFolder(folder: string): string[] {
  const mounts = read('/proc/mounts').split('\n');
  return [
    ...mounts.filter((line) => line.includes(folder)).map((line) => `mount ${line}`),
    ...readdirSync(folder)
      // npm keeps its compiled code in the temporary folder, on every machine; tsx has a link to its cache there.
      .filter((entry) => entry !== 'node-compile-cache' && entry !== tsxFolder)
      .map((entry) => `file ${join(folder, entry)}`),
  ];
}

/** Inode of the socket → where it listens. */
function listeningPorts(): Map<string, string> {
  const listening = '0A';
  const found = new Map<string, string>();
  for (const file of ['tcp', 'tcp6']) {
    for (const line of read(`/proc/net/${file}`).split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state === listening) found.set(inode, `port ${Number.parseInt(local.split(':')[1] ?? '', 16)}`);
    }
  }
  return found;
}

/** @returns '' where the file is gone or may not be read. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
