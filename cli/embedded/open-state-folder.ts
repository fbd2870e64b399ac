/** Makes the state folder of `holdfast start`, and takes over the one that releases before kept in the folder itself. */
import { chmodSync, cpSync, existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../../shared/config/environment.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { stateFolder } from '../state-folder.ts';
import { claimFolder } from './claim.ts';

/** Where earlier releases kept the state, in the folder itself. */
const formerName = '.holdfast';
/** What every start makes again, and what names the place of the state. */
const notAdopted = ['installed', 'run', 'tmp', 'start.json', 'cli.json', 'agent.toml', 'router.toml'];

/**
 * Makes the state folder of a root, which only its user can read.
 * @param adopt takes over the state that an earlier release kept in the root.
 * @throws UsageError if somebody else owns the folder, or there is earlier state and `adopt` was not asked for.
 */
export async function openStateFolder(root: string, env: Environment, adopt: boolean): Promise<string> {
  const folder = stateFolder(root, env);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  if (!found.isDirectory() || (process.getuid !== undefined && found.uid !== process.getuid()))
    throw new UsageError(`${folder} is not a folder of this user; remove it, or set XDG_STATE_HOME to another folder`);
  chmodSync(folder, 0o700);
  const former = join(root, formerName);
  if (!existsSync(join(former, 'pg'))) return folder;
  if (!adopt) throw new UsageError(formerState(former, folder));
  if (existsSync(join(folder, 'pg')))
    throw new UsageError(`both ${former} and ${folder} hold data of Holdfast; remove the one that is not wanted`);
  // @throws if the earlier release still runs there.
  await (await claimFolder(former)).release();
  adoptState(former, folder);
  return folder;
}

function formerState(former: string, folder: string): string {
  return (
    `${former} holds data of an earlier release of Holdfast, or came with a repository that you do not know: whoever wrote it decides which ` +
    `commands run as you. If it is yours, run \`holdfast start --adopt\` once (\`npm start -- --adopt\`), which moves it to ${folder}. ` +
    `If not, remove ${former}.`
  );
}

function adoptState(former: string, folder: string): void {
  // The database goes last: as long as it is there, the move can be tried again.
  const names = readdirSync(former).filter((name) => name !== 'pg' && !notAdopted.includes(name));
  for (const name of [...names, 'pg']) {
    move(join(former, name), join(folder, name));
  }
  rmSync(former, { recursive: true, force: true });
}

function move(from: string, to: string): void {
  rmSync(to, { recursive: true, force: true });
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EXDEV') throw error;
    cpSync(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  }
}
