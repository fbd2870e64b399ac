/**
 * Where `holdfast start` keeps what belongs to a folder: below the user's state folder, never in the folder itself, which may be a clone of
 * somebody's repository. https://specifications.freedesktop.org/basedir-spec/latest/
 */
import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, isAbsolute, join } from 'node:path';
import type { Environment } from '../shared/config/environment.ts';

/** @param root a folder that exists. @returns the absolute path of its state folder, which need not exist. */
export function stateFolder(root: string, env: Environment): string {
  const real = realpathSync(root);
  const key = createHash('sha256').update(real).digest('hex').slice(0, 16);
  const name = basename(real)
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, 32);
  return join(stateHome(env), 'holdfast', `${name}-${key}`);
}

function stateHome(env: Environment): string {
  const given = env['XDG_STATE_HOME'];
  if (given !== undefined && isAbsolute(given)) return given;
  return join(nonEmpty(env['HOME']) ?? homedir(), '.local', 'state');
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
