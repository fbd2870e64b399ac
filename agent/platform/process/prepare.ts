/** Makes what must exist before the first process of a version starts: snapshot, installed dependencies, volumes and command. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { PrepareOptions, VersionRun } from '../platform.ts';
import { installEnvironment, resolveCommand, type Command } from './command.ts';
import type { Installed } from './installed.ts';
import { machineTools } from './machine-tools.ts';
import { planFolder, type RunnablePlan } from './plan.ts';
import type { SourceFolders } from './source-folder.ts';

export function createPrepare(deps: {
  readonly folders: Pick<SourceFolders, 'find'>;
  readonly installed: Pick<Installed, 'ready'>;
  readonly volumesDir: string;
  readonly nodePath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Called for each output line of an install command. */
  readonly onLine: (run: VersionRun, line: string) => void;
  /** The app that has a port of this machine. */
  readonly portHolder: (port: number) => string | undefined;
  /** Ends every other version of the app that runs. */
  readonly endOthers: (run: VersionRun, signal: AbortSignal) => Promise<void>;
}) {
  const { folders, installed, volumesDir, nodePath, env, endOthers } = deps;

  /** The folder to run in: the snapshot, or its copy if something had to be installed. */
  async function ready(run: VersionRun, options: PrepareOptions): Promise<{ folder: string; plan: RunnablePlan }> {
    const { folder: snapshot, id } = await folders.find(run, options);
    const { spec } = run;
    const plan = await planFolder(spec, snapshot, run.config.strip_path);
    if (plan.install.length + plan.build.length === 0) return { folder: snapshot, plan };
    const folder = await installed.ready(
      {
        digest: id,
        snapshot,
        manifests: plan.manifests,
        install: plan.install,
        build: plan.build,
        inputs: { ...plan.installEnv, ...spec.build.args, ...spec.build_secrets, ...(await machineTools(env)) },
        env: (tree) => installEnvironment({ spec, folder: tree, plan, nodePath, env }),
      },
      { onStep: (title) => options.onPhase('build', title), onLine: (line) => deps.onLine(run, line) },
      options.signal,
    );
    return { folder, plan };
  }

  async function command(run: VersionRun, options: PrepareOptions): Promise<Command> {
    const { folder, plan } = await ready(run, options);
    const volumes = new Map<string, string>();
    for (const { name } of run.spec.volumes) volumes.set(name, join(volumesDir, run.app, name));
    for (const path of volumes.values()) await mkdir(path, { recursive: true });
    // A volume has one writer at a time, as with a Deployment of strategy Recreate.
    // A port that the app insists on cannot be had twice either.
    if (volumes.size > 0 || deps.portHolder(run.spec.port) === run.app) await endOthers(run, options.signal);
    return resolveCommand({ spec: run.spec, version: run.version, folder, plan, volumes, nodePath, env });
  }

  return {
    /** Makes everything. @returns what to run. */
    command,
    /** Installs what the source needs, unless that was done before. */
    async install(run: VersionRun, options: PrepareOptions): Promise<void> {
      const { plan } = await ready(run, options);
      for (const note of plan.notes) deps.onLine(run, `note: ${note}`);
    },
  };
}

export type Prepare = ReturnType<typeof createPrepare>;
