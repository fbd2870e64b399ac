/** The snapshot that a version runs from, whatever kind its source is: a folder, a git repository or an upload. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import { sourceKind, type AppSpec } from '../../../shared/protocol/app-spec.ts';
import type { Sources } from '../../source/sources.ts';
import type { StartOptions, VersionRun } from '../platform.ts';
import type { Snapshots } from './snapshot.ts';
import type { SourceUse } from './source-use.ts';

export interface PrepareOptions {
  readonly signal: AbortSignal;
  readonly onPhase: StartOptions['onPhase'];
}

export interface SourceFolders {
  /** What the source is now; of a folder a snapshot is taken. @throws AppError source_* */
  pin(spec: AppSpec, signal: AbortSignal): Promise<string>;
  /** The snapshot of the version, made unless it is there, and its name. @throws AppError source_*, cancelled */
  find(run: VersionRun, options: PrepareOptions): Promise<{ readonly folder: string; readonly id: string }>;
}

export function createSourceFolders(deps: {
  readonly snapshots: Pick<Snapshots, 'find' | 'take' | 'keep'>;
  readonly use: Pick<SourceUse, 'use'>;
  /** Without them only folders can be run. */
  readonly sources: Sources | undefined;
}): SourceFolders {
  const { snapshots, use, sources } = deps;

  async function fetchTree(run: VersionRun, id: string, options: PrepareOptions): Promise<void> {
    if (sources === undefined) throw sourceUnsupported();
    options.onPhase('source', 'fetching the source');
    const tree = await sources.tree(run.spec, run.pin.sourceDigest ?? '', options.signal);
    try {
      await snapshots.keep(id, tree.folder, options.signal);
    } finally {
      tree.release();
    }
  }

  /** A folder is only read again where its snapshot is lost, and helps only where it is still the same. */
  async function takeAgain(run: VersionRun, id: string, options: PrepareOptions): Promise<void> {
    options.onPhase('source', 'the snapshot is gone; reading the folder again');
    if ((await snapshots.take(rootOf(run.spec), options.signal)) !== id)
      throw new AppError(
        'source_invalid',
        `the snapshot of version ${run.version} is gone and ${run.spec.source} has changed`,
        { phase: 'source', data: { logs: [] } },
      );
  }

  return {
    async pin(spec, signal) {
      if (spec.source === undefined) throw sourceUnsupported();
      if (sourceKind(spec.source) === 'folder') return await snapshots.take(rootOf(spec), signal);
      if (sources === undefined) throw sourceUnsupported();
      return await sources.resolve(spec, signal);
    },

    async find(run, options) {
      const id = snapshotId(run.spec, run.pin.sourceDigest);
      if (run.spec.source === undefined || id === null) throw sourceUnsupported();
      const isFolder = sourceKind(run.spec.source) === 'folder';
      // Said before it is there, so that it is not pruned in between; one that is taken is claimed, and given over below.
      if (!isFolder) use.use(run.app, run.version, id);
      if (snapshots.find(id) === undefined) await (isFolder ? takeAgain : fetchTree)(run, id, options);
      use.use(run.app, run.version, id);
      const folder = snapshots.find(id);
      if (folder === undefined) throw new AppError('platform_error', 'the snapshot is not there', { phase: 'source' });
      return { folder, id };
    },
  };
}

/** Name of the snapshot of a version: the digest of its source and, where that is of more than the app, of the sub-folder. */
export function snapshotId(spec: AppSpec, digest: string | null): string | null {
  if (digest === null || spec.dir === undefined || sourceKind(spec.source ?? '') === 'folder') return digest;
  return `${digest}-${createHash('sha256').update(spec.dir).digest('hex').slice(0, 16)}`;
}

function rootOf({ source = '', dir }: AppSpec): string {
  return dir === undefined ? source : join(source, dir);
}

function sourceUnsupported(): AppError {
  return new AppError(
    'source_unsupported',
    'the process platform runs sources: give the app a `source`; images run on Kubernetes',
    { phase: 'source', data: { logs: [] } },
  );
}
