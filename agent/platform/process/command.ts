/** The command that runs a folder, and its environment. */
import { access, constants, stat } from 'node:fs/promises';
import { delimiter, dirname, join, resolve } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { ProcessCommands } from '../../../shared/presets/render/commands.ts';
import type { AppSpec } from '../../../shared/protocol/app-spec.ts';
import { inheritedEnvironment, type Environment } from './environment.ts';

export interface Command {
  readonly argv: readonly string[];
  readonly cwd: string;
  /** Without PORT, which differs per process. */
  readonly env: Readonly<Record<string, string>>;
}

/** Further variables that installing and building inherit, so that they reach registries as the user of this machine has set them up. */
const inheritedByInstall = [
  /^npm_config_(registry|cafile|ca|proxy|https?_proxy|noproxy|strict_ssl|userconfig|cache|fetch_\w+|[@/].*)$/i,
  /^(PIP|UV|POETRY|YARN|COREPACK)_/,
  /^GO(PROXY|FLAGS|PRIVATE|NOPROXY|SUMDB|NOSUMDB|CACHE|MODCACHE|PATH|ROOT|TOOLCHAIN)$/,
  /^XDG_(CACHE|CONFIG)_HOME$/,
];

type Plan = Pick<ProcessCommands, 'cwd' | 'binaries' | 'env'>;

/** @throws AppError app_config_invalid if the program does not exist or is not executable. */
export async function resolveCommand(options: {
  readonly spec: AppSpec;
  readonly version: number;
  /** The folder to run in: the snapshot, or the copy with the installed dependencies. */
  readonly folder: string;
  readonly plan: Plan & { readonly run: readonly string[] };
  /** The folder of each volume, by name. */
  readonly volumes: ReadonlyMap<string, string>;
  /** The agent's own Node.js, which apps run with too. */
  readonly nodePath: string;
  /** The agent's environment. */
  readonly env: Environment;
}): Promise<Command> {
  const { spec, folder, plan } = options;
  const env: Record<string, string> = {
    ...baseEnvironment(options),
    // Only the router calls it, from this machine.
    HOST: '127.0.0.1',
    ...plan.env,
    ...spec.env,
    ...spec.secrets,
    HOLDFAST_APP: spec.name,
    HOLDFAST_VERSION: String(options.version),
    HOLDFAST_PATH: spec.path,
  };
  for (const [name, path] of options.volumes) env[volumeVariable(name)] = path;
  const cwd = join(folder, plan.cwd);
  const [program = ''] = plan.run;
  if (!(await isExecutable(program, cwd, env['PATH'] ?? ''))) {
    throw new AppError(
      'app_config_invalid',
      `the command ${JSON.stringify(program)} does not exist or is not executable`,
      {
        phase: 'start',
        data: { logs: [] },
      },
    );
  }
  return { argv: plan.run, cwd, env };
}

/** The environment for installing and building: it has the build arguments instead of the environment of the app. */
export function installEnvironment(options: {
  readonly spec: AppSpec;
  readonly folder: string;
  readonly plan: Pick<ProcessCommands, 'binaries' | 'installEnv'>;
  readonly nodePath: string;
  readonly env: Environment;
}): Record<string, string> {
  const tools = Object.entries(options.env).filter(([key]) => inheritedByInstall.some((pattern) => pattern.test(key)));
  return {
    ...Object.fromEntries(tools.flatMap(([key, value]) => (value === undefined ? [] : [[key, value]]))),
    npm_config_update_notifier: 'false',
    ...baseEnvironment(options),
    ...options.plan.installEnv,
    ...options.spec.build.args,
    ...options.spec.build_secrets,
  };
}

function baseEnvironment(options: {
  readonly folder: string;
  readonly plan: Pick<ProcessCommands, 'binaries'>;
  readonly nodePath: string;
  readonly env: Environment;
}): Record<string, string> {
  const { folder, plan } = options;
  const env = inheritedEnvironment(options.env);
  const binaries = plan.binaries.map((path) => join(folder, path));
  env['PATH'] = [dirname(options.nodePath), ...binaries, env['PATH']].join(delimiter);
  return env;
}

/** The variable with the folder of a volume, since a folder cannot be mounted into a child process. */
export function volumeVariable(name: string): string {
  return `HOLDFAST_VOLUME_${name.toUpperCase().replaceAll('-', '_')}`;
}

/** Searches like execvp(3), so that an error can say what is missing. */
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
