/** What a process and everything that it started does, by /proc: where it listens, and how much processor time it has used. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import type { Listener } from '../listening.ts';

export interface Activity {
  readonly listeners: readonly Listener[];
  /** Ticks of processor time. */
  readonly ticks: number;
}

/** @param leader pid of the session. @returns undefined where there is no /proc, as on macOS. Never throws. */
export async function activityOf(leader: number): Promise<Activity | undefined> {
  const names = await readdir('/proc').catch(() => undefined);
  if (names === undefined) return undefined;
  const members: number[] = [];
  let ticks = 0;
  for (const name of names) {
    if (!/^\d+$/.test(name)) continue;
    const fields = statFields(await readFile(`/proc/${name}/stat`, 'utf8').catch(() => ''));
    // proc(5): session is field 6, utime and stime are 14 and 15; the first field here is the third.
    if (Number(fields[3]) !== leader) continue;
    members.push(Number(name));
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  const inodes = new Set((await Promise.all(members.map(socketsOf))).flat());
  if (inodes.size === 0) return { listeners: [], ticks };
  const tables = await Promise.all(
    ['tcp', 'tcp6'].map((table) => readFile(`/proc/${members[0]}/net/${table}`, 'utf8').catch(() => '')),
  );
  const all = tables.flatMap((table) => listenersIn(table, inodes));
  const unique = new Map(all.map((listener) => [`${listener.host} ${listener.port}`, listener]));
  return { listeners: [...unique.values()], ticks };
}

/** Counted after the name in parentheses, which may contain anything. */
function statFields(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

async function socketsOf(pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`;
  const names = await readdir(folder).catch(() => []);
  const links = await Promise.all(names.map((name) => readlink(`${folder}/${name}`).catch(() => '')));
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
}

const listenState = '0A';

/** Reads a table of /proc/net: `sl local_address rem_address st … inode`, addresses as hex words in the byte order of the machine. */
export function listenersIn(table: string, inodes: ReadonlySet<string>): Listener[] {
  return table.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    if (state !== listenState || !inodes.has(inode)) return [];
    const [address = '', port = ''] = local.split(':');
    return [{ host: hostOf(address), port: Number.parseInt(port, 16) }];
  });
}

function hostOf(hex: string): string {
  const bytes = (hex.match(/.{8}/g) ?? []).flatMap((word) => (word.match(/../g) ?? []).toReversed());
  if (bytes.length === 4) return bytes.map((byte) => Number.parseInt(byte, 16)).join('.');
  if (bytes.every((byte) => byte === '00')) return '::';
  if (bytes.slice(0, 15).every((byte) => byte === '00') && bytes[15] === '01') return '::1';
  // An IPv4 address in IPv6 (RFC 4291 §2.5.5.2).
  const isMapped = bytes.slice(0, 12).join('').toLowerCase() === '00000000000000000000ffff';
  if (isMapped)
    return bytes
      .slice(12)
      .map((byte) => Number.parseInt(byte, 16))
      .join('.');
  return (bytes.join('').match(/.{4}/g) ?? []).join(':');
}
