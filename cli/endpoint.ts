/**
 * Finds the agent that a command talks to: the one named by `--agent` or HOLDFAST_AGENT, or else the one of a `holdfast
 * start` running in this folder or a parent, which writes its address to `cli.json` of the folder's state folder.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import type { Environment } from '../shared/config/environment.ts';
import { readTextFile } from '../shared/config/load.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { UsageError } from '../shared/command/exit-code.ts';
import { stateFolder } from './state-folder.ts';

export interface AgentEndpoint {
  /** `http(s)://host:port`. */
  readonly url: string;
  readonly token: string;
}

/** The content of `cli.json`. The agent is on this machine. */
const cliFile = z.strictObject({
  agent: z.string().regex(/^http:\/\/127\.0\.0\.1:\d{1,5}$/),
  token: z.string().min(1),
});

/** @throws AppError unauthenticated if there is no token; UsageError if no agent is known or its URL is invalid. */
export function findEndpoint(
  { env, cwd }: { readonly env: Environment; readonly cwd: string },
  options: { readonly agent?: string | undefined; readonly tokenFile?: string | undefined },
): AgentEndpoint {
  const url = options.agent ?? nonEmpty(env['HOLDFAST_AGENT']);
  if (url !== undefined) {
    if (!/^https?:\/\/[^/\s]+\/?$/.test(url)) {
      throw new UsageError(`invalid agent URL ${JSON.stringify(url)}: it must have the form http://host:port`);
    }
    return { url, token: findToken(env, cwd, options.tokenFile) };
  }
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const found = announcedAt(folder, env);
    if (found !== undefined) return found;
    if (folder === dirname(folder)) break;
  }
  throw new UsageError(
    'no agent found: set HOLDFAST_AGENT (http://host:port) and HOLDFAST_TOKEN, or run this in the folder where `npm start` is running',
  );
}

function findToken(env: Environment, cwd: string, tokenFile: string | undefined): string {
  const file = tokenFile ?? nonEmpty(env['HOLDFAST_TOKEN_FILE']);
  // A file named on the command line takes precedence over the environment.
  const direct = tokenFile === undefined ? nonEmpty(env['HOLDFAST_TOKEN']) : undefined;
  if (direct !== undefined) return direct;
  if (file === undefined)
    throw new AppError('unauthenticated', 'no token: set HOLDFAST_TOKEN or pass --token-file FILE');
  try {
    return readTextFile(resolve(cwd, file)).trim();
  } catch (error) {
    throw new UsageError(`cannot read the token file ${file}: ${toAppError(error).message}`);
  }
}

/** @returns undefined if there is no such file, another user owns it, or others can read it. */
function announcedAt(folder: string, env: Environment): AgentEndpoint | undefined {
  try {
    const path = join(stateFolder(folder, env), 'cli.json');
    const { uid, mode } = statSync(path);
    if (process.getuid !== undefined && (uid !== process.getuid() || (mode & 0o077) !== 0)) return undefined;
    const { agent, token } = cliFile.parse(JSON.parse(readFileSync(path, 'utf8')));
    return { url: agent, token };
  } catch {
    return undefined;
  }
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
