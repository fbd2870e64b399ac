/**
 * Which agent a command talks to: named by `--agent` or HOLDFAST_AGENT, else the one of the `holdfast start` that runs in
 * this folder or one above, which leaves its address in `.holdfast/cli.json`.
 */
import { readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import type { Environment } from '../shared/config/environment.ts';
import { readTextFile } from '../shared/config/load.ts';
import { AppError, toAppError } from '../shared/errors.ts';
import { UsageError } from '../shared/command/exit-code.ts';

export interface AgentEndpoint {
  /** `http(s)://host:port`. */
  readonly url: string;
  readonly token: string;
}

/** Content of `.holdfast/cli.json`. */
const cliFile = z.strictObject({ agent: z.url(), token: z.string().min(1) });

/** @throws AppError unauthenticated without a token; UsageError without an agent, or with one that is no URL. */
export function findEndpoint(
  { env, cwd }: { readonly env: Environment; readonly cwd: string },
  options: { readonly agent?: string | undefined; readonly tokenFile?: string | undefined },
): AgentEndpoint {
  const url = options.agent ?? nonEmpty(env['HOLDFAST_AGENT']);
  if (url !== undefined) {
    if (!/^https?:\/\/[^/\s]+\/?$/.test(url)) {
      throw new UsageError(`the agent ${JSON.stringify(url)} is not of the form http://host:port`);
    }
    return { url, token: findToken(env, cwd, options.tokenFile) };
  }
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const found = readCliFile(join(folder, '.holdfast', 'cli.json'));
    if (found !== undefined) return found;
    if (folder === dirname(folder)) break;
  }
  throw new UsageError(
    'no agent: set HOLDFAST_AGENT (http://host:port) and HOLDFAST_TOKEN, or run this where `npm start` is running',
  );
}

function findToken(env: Environment, cwd: string, tokenFile: string | undefined): string {
  const file = tokenFile ?? nonEmpty(env['HOLDFAST_TOKEN_FILE']);
  // A file named on the command line goes before the environment.
  const direct = tokenFile === undefined ? nonEmpty(env['HOLDFAST_TOKEN']) : undefined;
  if (direct !== undefined) return direct;
  if (file === undefined)
    throw new AppError('unauthenticated', 'no token: set HOLDFAST_TOKEN or give --token-file FILE');
  try {
    return readTextFile(resolve(cwd, file)).trim();
  } catch (error) {
    throw new UsageError(`the token file ${file} cannot be read: ${toAppError(error).message}`);
  }
}

/** @returns undefined when there is none, or when it was left by another user. */
function readCliFile(path: string): AgentEndpoint | undefined {
  try {
    if (process.getuid !== undefined && statSync(path).uid !== process.getuid()) return undefined;
    const { agent, token } = cliFile.parse(JSON.parse(readFileSync(path, 'utf8')));
    return { url: agent, token };
  } catch {
    return undefined;
  }
}

function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
