/** What has to be there before the first process of a version starts: its snapshot, what is installed, its volumes, its command. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { StartOptions, VersionRun } from '../platform.ts';
import { installEnvironment, resolveCommand, type Command } from './command.ts';
import type { Installed } from './installed.ts';
import { planFolder, type RunnablePlan } from './plan.ts';
import type { Snapshots } from './snapshot.ts';
import type { SourceUse } from './source-use.ts';

export interface PrepareOptions {
  readonly signal: AbortSignal;
  readonly onPhase: StartOptions['onPhase'];
}

export interface Prepare {
  /** Installs what the source needs, unless it is there. */
  install(run: VersionRun, options: PrepareOptions): Promise<void>;
  /** Everything; resolves with what to run. */
  command(run: VersionRun, options: PrepareOptions): Promise<Command>;
}

export function createPrepare(deps: {
  readonly snapshots: Pick<Snapshots, 'find' | 'take'>;
  readonly use: Pick<SourceUse, 'use'>;
  readonly installed: Pick<Installed, 'ready'>;
  readonly volumesDir: string;
  readonly nodePath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A line of what installs. */
  readonly onLine: (run: VersionRun, line: string) => void;
  /** Ends what runs of the app, whichever version. */
  readonly endOthers: (run: VersionRun, signal: AbortSignal) => Promise<void>;
}): Prepare {
  const { snapshots, use, installed, volumesDir, nodePath, env, endOthers } = deps;

  /** The snapshot; taken again where it is lost and the source is still the same. */
  async function folderOf(run: VersionRun, options: PrepareOptions): Promise<string> {
    const digest = run.pin.sourceDigest;
    const source = run.spec.source;
    if (source === undefined || digest === null) throw sourceUnsupported();
    let folder = snapshots.find(digest);
    if (folder === undefined) {
      options.onPhase('source', 'the snapshot is gone; reading the folder again');
      if ((await snapshots.take(source, options.signal)) === digest) folder = snapshots.find(digest);
    }
    if (folder === undefined) {
      throw new AppError('source_invalid', `the snapshot of version ${run.version} is gone and ${source} has changed`, {
        phase: 'source',
        data: { logs: [] },
      });
    }
    use.use(run.app, run.version, digest);
    return folder;
  }

  /** The snapshot, or its copy where something had to be installed. */
  async function ready(run: VersionRun, options: PrepareOptions): Promise<{ folder: string; plan: RunnablePlan }> {
    const snapshot = await folderOf(run, options);
    const { spec } = run;
    const plan = await planFolder(spec, snapshot);
    if (plan.install.length === 0 || run.pin.sourceDigest === null) return { folder: snapshot, plan };
    const folder = await installed.ready(
      {
        digest: run.pin.sourceDigest,
        snapshot,
        commands: plan.install,
        inputs: { ...spec.build.args, ...spec.build_secrets },
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
    // Two writers on one volume: never, as with a Deployment that recreates.
    if (volumes.size > 0) await endOthers(run, options.signal);
    return resolveCommand({ spec: run.spec, version: run.version, folder, plan, volumes, nodePath, env });
  }

  return {
    command,
    async install(run, options) {
      await ready(run, options);
    },
  };
}

export function sourceUnsupported(): AppError {
  return new AppError(
    'source_unsupported',
    'the process platform runs folders: give the app a `source`; images run on Kubernetes',
    { phase: 'source', data: { logs: [] } },
  );
}
