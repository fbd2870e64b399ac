/** What to run for a folder, and with which environment. */
import { access, constants, readFile, stat } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { AppError } from '../../../shared/errors.ts';
import type { AppSpec } from '../../../shared/protocol/app-spec.ts';

export interface Command {
  readonly argv: readonly string[];
  readonly cwd: string;
  /** Without PORT, which each process gets its own of. */
  readonly env: Readonly<Record<string, string>>;
}

/** Taken over from the agent; nothing else is, so that its own secrets stay its own. */
const inherited = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR', 'USER', 'SHELL'];
const nodeFiles = ['server.js', 'server.mjs', 'server.ts', 'index.js', 'index.mjs', 'index.ts'];
const pythonFiles = ['app.py', 'main.py'];
/** Words without anything that a shell would treat in its own way. */
const plainCommand = /^ *[\w@%+:,./-]+( +[\w@%+:,./=-]+)* *$/;
const packageJson = z.object({
  main: z.string().optional(),
  scripts: z.object({ start: z.string().optional() }).optional(),
});

/** @throws AppError source_invalid where the folder does not say what to run; app_config_invalid where that is not there. */
export async function resolveCommand(options: {
  readonly spec: AppSpec;
  readonly version: number;
  readonly folder: string;
  /** Folder of each volume, by name. */
  readonly volumes: ReadonlyMap<string, string>;
  /** The agent's own node: apps run with the same. */
  readonly nodePath: string;
  /** The agent's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
}): Promise<Command> {
  const { spec, folder } = options;
  const env: Record<string, string> = {};
  for (const key of inherited) {
    const value = options.env[key];
    if (value !== undefined) env[key] = value;
  }
  const searchPath = [dirname(options.nodePath), join(folder, 'node_modules', '.bin'), env['PATH'] ?? '/usr/bin:/bin'];
  env['PATH'] = searchPath.join(delimiter);
  Object.assign(env, spec.env, spec.secrets, {
    HOLDFAST_APP: spec.name,
    HOLDFAST_VERSION: String(options.version),
    HOLDFAST_PATH: spec.path,
  });
  for (const [name, path] of options.volumes) env[volumeVariable(name)] = path;
  const find = (file: string): Promise<boolean> => isExecutable(file, folder, env['PATH'] ?? '');
  const argv = spec.command ?? (await detect(folder, find));
  if (!(await find(argv[0] ?? ''))) {
    throw new AppError('app_config_invalid', `the command ${JSON.stringify(argv[0])} is not there or not executable`, {
      phase: 'start',
      data: { logs: [] },
    });
  }
  return { argv, cwd: folder, env };
}

/** A folder cannot be mounted into a child process: its app is told where it is instead. */
export function volumeVariable(name: string): string {
  return `HOLDFAST_VOLUME_${name.toUpperCase().replaceAll('-', '_')}`;
}

type Find = (file: string) => Promise<boolean>;

async function detect(folder: string, find: Find): Promise<readonly string[]> {
  const manifest = await readManifest(folder);
  const start = manifest?.scripts?.start;
  // Not through npm: that would add its own start time and a process that does not hand signals on. A plain command, such
  // as `node server.js`, needs no shell either.
  if (start !== undefined) {
    const words = start.trim().split(/ +/);
    return plainCommand.test(start) && (await find(words[0] ?? '')) ? words : ['sh', '-c', start];
  }
  for (const file of [...(manifest?.main === undefined ? [] : [manifest.main]), ...nodeFiles]) {
    if (await isFile(join(folder, file))) return ['node', file];
  }
  for (const file of pythonFiles) {
    if (await isFile(join(folder, file))) return ['python3', file];
  }
  throw new AppError(
    'source_invalid',
    'the folder does not say what to run: give the app a `command`, or add a package.json with a start script, a server.js or an app.py',
    { phase: 'source' },
  );
}

async function readManifest(folder: string): Promise<z.output<typeof packageJson> | undefined> {
  const text = await readFile(join(folder, 'package.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    return packageJson.parse(JSON.parse(text));
  } catch (error) {
    throw new AppError('source_invalid', 'package.json is not valid', { phase: 'source', cause: error });
  }
}

/** Looks for it as execvp(3) does, so that an error can say what is missing. */
async function isExecutable(file: string, folder: string, searchPath: string): Promise<boolean> {
  if (file === '') return false;
  const candidates = file.includes('/')
    ? [resolve(folder, file)]
    : searchPath.split(delimiter).map((entry) => resolve(folder, entry, file));
  for (const candidate of candidates) {
    const allowed = access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    );
    if ((await isFile(candidate)) && (await allowed)) return true;
  }
  return false;
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isFile(),
    () => false,
  );
}
