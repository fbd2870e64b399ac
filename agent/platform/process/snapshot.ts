/**
 * Snapshots of sources: `<folder>/<hex digest>` of folders and uploads, `<folder>/git-<commit>` of repositories. They never change, so a
 * version stays what it was when its folder changes. The digest is computed from what was copied, whatever the folder held before or after.
 */
import { randomUUID } from 'node:crypto';
import { existsSync, renameSync } from 'node:fs';
import { mkdir, readdir, realpath, rm, stat, symlink } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import { AppError, toAppError } from '../../../shared/errors.ts';
import { digestOf } from '../../../shared/source/tree-digest.ts';
import { walkTree } from '../../../shared/source/tree-walk.ts';
import { copyFiles, type CopyLimits } from './snapshot-copy.ts';

export interface SnapshotLimits extends CopyLimits {
  readonly maxFiles: number;
  readonly maxDepth: number;
}

export const snapshotLimits: SnapshotLimits = { maxFiles: 50_000, maxBytes: 512 * 1024 * 1024, maxDepth: 64 };

const temporaryPrefix = '.tmp-';
const idPattern = /^(sha256:[0-9a-f]{64}|git:[0-9a-f]{40,64})(-[0-9a-f]{16})?$/;
/** A folder that changes while it is read is read again, up to this many times in all. */
const maxAttempts = 3;

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

  /** @param id the name of the snapshot; without it, the snapshot is named by its digest and claimed. */
  async function copyOnce(root: string, signal: AbortSignal, id?: string): Promise<string> {
    const name = `${temporaryPrefix}${randomUUID()}`;
    const copy = join(folder, name);
    temporary.add(name);
    try {
      await mkdir(copy);
      const tree = await walkTree({ root, skip: new Set([dataDir]), limits, signal });
      for (const path of tree.folders) await mkdir(join(copy, path));
      const files = await copyFiles({ root, copy, files: tree.files, limits, signal });
      for (const link of tree.links) await symlink(link.target, join(copy, link.path));
      const digest = digestOf({ folders: tree.folders, links: tree.links, files });
      publish(copy, join(folder, nameOf(id ?? digest)));
      if (id === undefined) onTaken(digest);
      return digest;
    } finally {
      await rm(copy, { recursive: true, force: true });
      temporary.delete(name);
    }
  }

  async function copyTree(source: string, signal: AbortSignal, id?: string): Promise<string> {
    const root = await findRoot(source);
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await copyOnce(root, signal, id);
      } catch (error) {
        if (signal.aborted) throw new AppError('cancelled', 'reading the source was cancelled', { cause: error });
        if (error instanceof AppError) throw error;
        const { code } = error as NodeJS.ErrnoException;
        // Files appear and disappear while an editor saves.
        if ((code === 'ENOENT' || code === 'ELOOP') && attempt < maxAttempts) continue;
        throw invalid(toAppError(error).message, error);
      }
    }
  }

  return {
    /**
     * Copies the folder, unless a snapshot of the same content exists. Claims the digest: it is kept until `prune` removes it.
     * @returns `sha256:<hex>`.
     * @throws AppError source_invalid naming the path, cancelled.
     */
    take: (source: string, signal: AbortSignal) => copyTree(source, signal),
    /**
     * Copies a tree that was fetched, under the given name: `sha256:<hex>` or `git:<commit>`, with `-<16 hex>` for a sub-folder. Claims
     * nothing. @throws AppError source_invalid, cancelled.
     */
    async keep(id: string, tree: string, signal: AbortSignal): Promise<void> {
      await copyTree(tree, signal, id);
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
