/** What has to be there before the first process of a version starts: its snapshot, its volumes, its command. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { StartOptions, VersionRun } from '../platform.ts';
import { resolveCommand, type Command } from './command.ts';
import type { Snapshots } from './snapshot.ts';
import type { SourceUse } from './source-use.ts';

export interface PrepareOptions {
  readonly signal: AbortSignal;
  readonly onPhase: StartOptions['onPhase'];
}

export type Prepare = (run: VersionRun, options: PrepareOptions) => Promise<Command>;

export function createPrepare(deps: {
  readonly snapshots: Pick<Snapshots, 'find' | 'take'>;
  readonly use: Pick<SourceUse, 'use'>;
  readonly volumesDir: string;
  readonly nodePath: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends what runs of the app, whichever version. */
  readonly endOthers: (run: VersionRun, signal: AbortSignal) => Promise<void>;
}): Prepare {
  const { snapshots, use, volumesDir, nodePath, env, endOthers } = deps;

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

  return async (run, options) => {
    const folder = await folderOf(run, options);
    const volumes = new Map<string, string>();
    for (const { name } of run.spec.volumes) volumes.set(name, join(volumesDir, run.app, name));
    for (const path of volumes.values()) await mkdir(path, { recursive: true });
    // Two writers on one volume: never, as with a Deployment that recreates.
    if (volumes.size > 0) await endOthers(run, options.signal);
    return resolveCommand({ spec: run.spec, version: run.version, folder, volumes, nodePath, env });
  };
}

export function sourceUnsupported(): AppError {
  return new AppError(
    'source_unsupported',
    'the process platform runs folders: give the app a `source`; images run on Kubernetes',
    { phase: 'source', data: { logs: [] } },
  );
}
