/** What identifies the languages of this machine, on whose versions it depends what an installation makes. */
import { realpath, stat } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import type { Environment } from './environment.ts';

/** Installations for these are of no use with another version. Node.js is the agent's own. */
const programs = ['python3', 'ruby', 'php'];

/** @returns for each program that is found, its file and when that was changed: an upgrade of the machine changes one of them. */
export async function machineTools(env: Environment): Promise<Record<string, string>> {
  const folders = (env['PATH'] ?? '').split(delimiter).filter((folder) => folder !== '');
  const found = await Promise.all(
    programs.map(async (program) => [program, await identify(program, folders)] as const),
  );
  return Object.fromEntries(found.flatMap(([program, id]) => (id === undefined ? [] : [[`program ${program}`, id]])));
}

async function identify(program: string, folders: readonly string[]): Promise<string | undefined> {
  for (const folder of folders) {
    try {
      const file = await realpath(join(folder, program));
      const { mtimeMs, size } = await stat(file);
      return `${file} ${mtimeMs} ${size}`;
    } catch {
      // The next folder may have it.
    }
  }
  return undefined;
}
