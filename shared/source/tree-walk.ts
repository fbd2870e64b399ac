/** Lists what a folder holds, refusing what a source cannot or must not hold. Nothing is read but names. */
import { lstat, readdir, readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { Excludes } from './dockerignore.ts';
import { overMaxFiles, skippedNames, sourceInvalid, type SourceLimits } from './limits.ts';

/** Paths are relative to the root. */
export interface TreeListing {
  /** Parents before children. */
  readonly folders: readonly string[];
  readonly files: readonly TreeFile[];
  readonly links: readonly TreeLink[];
}

export interface TreeFile {
  readonly path: string;
  readonly mode: number;
}

export interface TreeLink {
  readonly path: string;
  /** Relative to the folder of the link. */
  readonly target: string;
}

/** @throws AppError source_invalid naming the path; the reason of the signal; errors of the file system. */
export async function walkTree(options: {
  readonly root: string;
  readonly excludes?: Excludes;
  /** Absolute paths that are left out. */
  readonly skip?: ReadonlySet<string>;
  readonly limits: Pick<SourceLimits, 'maxFiles' | 'maxDepth'>;
  readonly signal: AbortSignal;
}): Promise<TreeListing> {
  const { excludes, skip, limits, signal } = options;
  // What links lead to is told by real paths, so the root is known by its own; it may be reached by a link itself.
  const root = await realpath(options.root);
  const folders: string[] = [];
  const files: TreeFile[] = [];
  const links: TreeLink[] = [];

  async function visit(folder: string, depth: number): Promise<void> {
    if (depth > limits.maxDepth) throw sourceInvalid(folder, `is more than ${limits.maxDepth} folders deep`);
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      signal.throwIfAborted();
      const path = join(folder, entry.name);
      if (skippedNames.has(entry.name) || skip?.has(join(options.root, path)) === true) continue;
      const excluded = excludes?.ignores(path) === true;
      if (excluded && !(entry.isDirectory() && excludes.hasExceptions)) continue;
      // What readdir puts for bytes that are not UTF-8: the name could not be opened again.
      if (entry.name.includes('\uFFFD')) throw sourceInvalid(path, 'has a name that is not UTF-8');
      if (folders.length + files.length + links.length >= limits.maxFiles) throw overMaxFiles(limits.maxFiles);
      if (entry.isDirectory()) {
        const before = files.length + links.length;
        const place = folders.push(path) - 1;
        await visit(path, depth + 1);
        // Only what an exception (`!…`) brings back makes an excluded folder part of the tree.
        if (excluded && files.length + links.length === before) folders.splice(place);
      } else if (entry.isFile()) {
        files.push({ path, mode: (await lstat(join(root, path))).mode & 0o777 });
      } else if (entry.isSymbolicLink()) {
        links.push({ path, target: await linkTarget(root, path, options.root) });
      } else {
        throw sourceInvalid(path, 'is no file, folder or link (a device, socket or pipe)');
      }
    }
  }

  await visit('', 0);
  return { folders, files, links };
}

/** Where the link leads, as a relative path: an absolute one would lead from a copy back into the folder. */
async function linkTarget(root: string, path: string, givenRoot: string): Promise<string> {
  const link = join(root, path);
  const text = await readlink(link);
  const named = resolve(dirname(link), text);
  const target = isAbsolute(text) && isInside(givenRoot, named) ? join(root, relative(givenRoot, named)) : named;
  // A link may lead out by way of other links: the real path tells. A dangling one has none.
  const real = await realpath(link).catch(() => target);
  if (!isInside(root, target) || !isInside(root, real))
    throw sourceInvalid(path, `is a link that leads out of the folder (${text})`);
  if (!isAbsolute(text)) return text;
  return relative(dirname(link), target) || '.';
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}
