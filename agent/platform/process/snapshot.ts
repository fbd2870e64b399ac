/**
 * Snapshots of sources: `<folder>/<hex digest>` of folders and uploads, `<folder>/git-<commit>` of repositories. They never change, so a
 * version stays what it was when its folder changes. The digest is computed from what was copied, whatever the folder held before or after.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, renameSync } from 'node:fs';
import { mkdir, readdir, realpath, rm, stat, symlink } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { AppError, toAppError } from '../../../shared/errors.ts';
import { type BuildSpec, sourceRules } from '../../../shared/presets/source-rules.ts';
import type { SourceSummary } from '../../../shared/source/left-out.ts';
import { readWhileStill } from '../../../shared/source/read-tree.ts';
import { digestOf } from '../../../shared/source/tree-digest.ts';
import { type SourceRules, walkTree } from '../../../shared/source/tree-walk.ts';
import { copyFiles, type CopyLimits } from './snapshot-copy.ts';

export interface SnapshotLimits extends CopyLimits {
  readonly maxFiles: number;
  readonly maxDepth: number;
}

export const snapshotLimits: SnapshotLimits = { maxFiles: 50_000, maxBytes: 512 * 1024 * 1024, maxDepth: 64 };

export interface TakenSnapshot {
  /** `sha256:<hex>`. */
  readonly digest: string;
  readonly summary: SourceSummary;
}

const temporaryPrefix = '.tmp-';
const idPattern = /^(sha256:[0-9a-f]{64}|git:[0-9a-f]{40,64})(-[0-9a-f]{16})?$/;

export async function createSnapshots(deps: {
  readonly folder: string;
  /** The agent's data folder, which is never copied. */
  readonly dataDir: string;
  /** Called synchronously when a snapshot has appeared. */
  readonly onTaken: (digest: string) => void;
  readonly limits?: SnapshotLimits;
}) {
  const { folder, onTaken, limits = snapshotLimits } = deps;
  await mkdir(folder, { recursive: true });
  const dataDir = await realpath(deps.dataDir);
  const temporary = new Set<string>();

  async function copyOnce(root: string, rules: SourceRules, signal: AbortSignal, id?: string): Promise<TakenSnapshot> {
    const name = `${temporaryPrefix}${randomUUID()}`;
    const copy = join(folder, name);
    temporary.add(name);
    try {
      await mkdir(copy);
      const tree = await walkTree({ root, rules, skip: new Set([dataDir]), limits, signal });
      for (const path of tree.folders) await mkdir(join(copy, path));
      const { files, bytes } = await copyFiles({ root, copy, files: tree.files, limits, signal });
      for (const link of tree.links) await symlink(link.target, join(copy, link.path));
      const digest = digestOf({ folders: tree.folders, links: tree.links, files });
      publish(copy, join(folder, nameOf(id ?? digest)));
      // A snapshot without a name of its own is claimed.
      if (id === undefined) onTaken(digest);
      return { digest, summary: { files: files.length, bytes, leftOut: tree.leftOut } };
    } finally {
      await rm(copy, { recursive: true, force: true });
      temporary.delete(name);
    }
  }

  /**
   * @param spec by which the files are chosen; without it, all are taken.
   * @param id the name of the snapshot; without it, its digest is.
   */
  async function copyTree(
    source: string,
    { spec, id, signal }: { readonly spec?: BuildSpec; readonly id?: string; readonly signal: AbortSignal },
  ): Promise<TakenSnapshot> {
    const root = await findRoot(source);
    try {
      return await readWhileStill(
        async () => copyOnce(root, spec === undefined ? {} : await sourceRules(root, spec), signal, id),
        signal,
      );
    } catch (error) {
      if (signal.aborted) throw new AppError('cancelled', 'reading the source was cancelled', { cause: error });
      throw error instanceof AppError ? error : invalid(toAppError(error).message, error);
    }
  }

  return {
    /**
     * Copies the files of the folder that are its source, unless a snapshot of the same content exists. Claims the digest: it is kept
     * until `prune` removes it.
     * @throws AppError source_invalid naming the path, cancelled.
     */
    take: (source: string, spec: BuildSpec, signal: AbortSignal): Promise<TakenSnapshot> =>
      copyTree(source, { spec, signal }),
    /**
     * Copies a whole tree that was fetched, under the given name: `sha256:<hex>` or `git:<commit>`, with `-<16 hex>` for a sub-folder.
     * Claims nothing. @throws AppError source_invalid, cancelled.
     */
    async keep(id: string, tree: string, signal: AbortSignal): Promise<void> {
      await copyTree(tree, { id, signal });
    },
    /** The folder of a snapshot; undefined if there is none. */
    find(id: string): string | undefined {
      const path = join(folder, nameOf(id));
      return idPattern.test(id) && existsSync(path) ? path : undefined;
    },
    /** Removes the snapshots for which `keep` returns false; it is asked right before each removal. @returns their digests. */
    async prune(keep: (digest: string) => boolean): Promise<string[]> {
      const removed: string[] = [];
      for (const name of await readdir(folder)) {
        if (temporary.has(name)) continue;
        const digest = idOf(name);
        if (!name.startsWith(temporaryPrefix) && keep(digest)) continue;
        const doomed = join(folder, `${temporaryPrefix}${randomUUID()}`);
        // Synchronous, like `publish`, so that no other `take` finds the snapshot between the check and the removal.
        renameSync(join(folder, name), doomed);
        if (!name.startsWith(temporaryPrefix)) removed.push(digest);
        await rm(doomed, { recursive: true, force: true });
      }
      return removed;
    },
  };
}

export type Snapshots = Awaited<ReturnType<typeof createSnapshots>>;

function nameOf(id: string): string {
  return id.replace(/^sha256:/, '').replace(':', '-');
}

function idOf(name: string): string {
  return name.startsWith('git-') ? name.replace('-', ':') : `sha256:${name}`;
}

/** Makes the copy visible under its name. Does nothing if the same snapshot exists. */
function publish(copy: string, path: string): void {
  try {
    renameSync(copy, path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

async function findRoot(source: string): Promise<string> {
  if (!isAbsolute(source)) throw invalid(`${source} is not an absolute path`);
  try {
    const root = await realpath(source);
    if ((await stat(root)).isDirectory()) return root;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw invalid(code === 'ENOENT' ? `${source} does not exist` : `${source} cannot be read (${code})`, error);
  }
  throw invalid(`${source} is not a folder`);
}

function invalid(message: string, cause?: unknown): AppError {
  return new AppError('source_invalid', message, { phase: 'source', cause });
}
