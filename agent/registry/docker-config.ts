/** Reads a docker config.json, and reads it again when it has changed, since Secrets are rotated while the agent runs. */
import { readFile, stat } from 'node:fs/promises';
import { z } from 'zod';
import { AppError } from '../../shared/errors.ts';
import type { Log } from '../../shared/log.ts';
import { canonicalPlace, type DockerConfigFile, type RegistryLogin } from './credentials.ts';

const maxFileBytes = 1_048_576;

/** Other keys are ignored, also those of credential helpers: these are programs, which the agent's image does not have. */
const configFile = z.object({
  auths: z
    .record(
      z.string(),
      z.object({
        auth: z.string().optional(),
        username: z.string().optional(),
        password: z.string().optional(),
        identitytoken: z.string().optional(),
      }),
    )
    .default({}),
});

type FileEntry = z.output<typeof configFile>['auths'][string];

/** @throws AppError config_invalid if the file cannot be read now. */
export async function openDockerConfig(path: string, log: Log): Promise<DockerConfigFile> {
  let mark = await markOf(path);
  let entries = await read(path);
  return {
    async entries() {
      try {
        const now = await markOf(path);
        if (now === mark) return entries;
        entries = await read(path);
        mark = now;
      } catch (error) {
        log.warn({ err: error, file: path }, 'cannot read the docker config; using its previous content');
      }
      return entries;
    },
  };
}

async function markOf(path: string): Promise<string> {
  try {
    const { ino, mtimeMs, size } = await stat(path);
    return `${String(ino)} ${String(mtimeMs)} ${String(size)}`;
  } catch (error) {
    throw unreadable(path, error);
  }
}

async function read(path: string): Promise<ReadonlyMap<string, RegistryLogin>> {
  try {
    if ((await stat(path)).size > maxFileBytes) throw new Error('it is larger than 1 MiB');
    return parseDockerConfig(await readFile(path, 'utf8'));
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): AppError {
  // The parser's message quotes the file, which has passwords.
  const why = error instanceof SyntaxError || error instanceof z.ZodError ? 'it is no docker config.json' : error;
  const message = why instanceof Error ? why.message : String(why);
  return new AppError('config_invalid', `registry.docker_config_file ${path} cannot be read: ${message}`);
}

/** @throws SyntaxError, ZodError. */
export function parseDockerConfig(text: string): ReadonlyMap<string, RegistryLogin> {
  const entries = new Map<string, RegistryLogin>();
  for (const [place, entry] of Object.entries(configFile.parse(JSON.parse(text)).auths)) {
    const login = loginOf(entry);
    if (login !== undefined) entries.set(canonicalPlace(place), login);
  }
  return entries;
}

/** @returns undefined for the empty entry that stands for a credential helper. */
function loginOf({ auth, username, password, identitytoken }: FileEntry): RegistryLogin | undefined {
  const decoded = Buffer.from(auth ?? '', 'base64')
    .toString('utf8')
    .replace(/\0+$/, '');
  const colon = decoded.indexOf(':');
  const user = colon > 0 ? decoded.slice(0, colon) : username;
  const pass = colon > 0 ? decoded.slice(colon + 1) : password;
  if (identitytoken !== undefined && identitytoken !== '') {
    return { username: user ?? '<token>', password: pass ?? '', identityToken: identitytoken };
  }
  return user === undefined || pass === undefined ? undefined : { username: user, password: pass };
}
