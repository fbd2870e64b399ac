/** The snapshot that a version runs from, whether its source is a folder, a git repository or an upload. */
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import { sourceKind, type AppSpec } from '../../../shared/protocol/app-spec.ts';
import type { Sources } from '../../source/sources.ts';
import { summaryText } from '../../../shared/source/left-out.ts';
import type { PrepareOptions, VersionRun } from '../platform.ts';
import type { Snapshots } from './snapshot.ts';
import type { SourceUse } from './source-use.ts';

export function createSourceFolders(deps: {
  readonly snapshots: Pick<Snapshots, 'find' | 'take' | 'keep'>;
  readonly use: Pick<SourceUse, 'use'>;
  /** Git repositories and uploads; without them only folders can be run. */
  readonly sources: Sources | undefined;
}) {
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

  /** Reads a folder again because its snapshot is lost, which helps only if the folder has not changed. */
  async function takeAgain(run: VersionRun, id: string, options: PrepareOptions): Promise<void> {
    options.onPhase('source', 'the snapshot is lost; reading the folder again');
    const { digest } = await snapshots.take(rootOf(run.spec), run.spec, options.signal);
    if (digest !== id)
      throw new AppError(
        'source_invalid',
        `the snapshot of version ${run.version} is lost, and ${run.spec.source} has changed since; declare the app again`,
        { phase: 'source', data: { logs: [] } },
      );
  }

  return {
    /** The digest of the source now; takes a snapshot of a folder. @throws AppError source_* */
    async pin(spec: AppSpec, signal: AbortSignal): Promise<{ readonly digest: string; readonly summary?: string }> {
      if (spec.source === undefined) throw sourceUnsupported();
      if (sourceKind(spec.source) === 'folder') {
        const { digest, summary } = await snapshots.take(rootOf(spec), spec, signal);
        return { digest, summary: summaryText(summary) };
      }
      if (sources === undefined) throw sourceUnsupported();
      return { digest: await sources.resolve(spec, signal) };
    },

    /** The folder and the name of the version's snapshot, which is made unless it exists. @throws AppError source_*, cancelled */
    async find(run: VersionRun, options: PrepareOptions): Promise<{ readonly folder: string; readonly id: string }> {
      const id = snapshotId(run.spec, run.pin.sourceDigest);
      if (run.spec.source === undefined || id === null) throw sourceUnsupported();
      const isFolder = sourceKind(run.spec.source) === 'folder';
      // Registered before the snapshot exists, so that it is not pruned in between. A folder is claimed by `take`, and handed over below.
      if (!isFolder) use.use(run.app, run.version, id);
      if (snapshots.find(id) === undefined) await (isFolder ? takeAgain : fetchTree)(run, id, options);
      use.use(run.app, run.version, id);
      const folder = snapshots.find(id);
      if (folder === undefined)
        throw new AppError('platform_error', 'the snapshot does not exist', { phase: 'source' });
      return { folder, id };
    },
  };
}

export type SourceFolders = ReturnType<typeof createSourceFolders>;

/** The name of a version's snapshot: the digest of its source and, if the app is in a sub-folder, a digest of the sub-folder's path. */
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
