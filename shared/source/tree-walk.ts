/** Lists the contents of a folder and rejects what a source must not contain. It reads names only, no contents. */
import { lstat, readdir, readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { Excludes } from './dockerignore.ts';
import { overMaxFiles, skippedNames, sourceInvalid, type SourceLimits } from './limits.ts';

/** The contents of a folder, with paths relative to its root. */
export interface TreeListing {
  /** The folders, parents before children. */
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
  /** The target, relative to the folder of the link. */
  readonly target: string;
}

/** @throws AppError source_invalid, which names the path; the reason of the signal; errors of the file system. */
export async function walkTree(options: {
  readonly root: string;
  readonly excludes?: Excludes;
  /** Absolute paths to leave out. */
  readonly skip?: ReadonlySet<string>;
  readonly limits: Pick<SourceLimits, 'maxFiles' | 'maxDepth'>;
  readonly signal: AbortSignal;
}): Promise<TreeListing> {
  const { excludes, skip, limits, signal } = options;
  // The targets of links are compared as real paths, so the root has to be one too; it may itself be reached by a link.
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
      // readdir replaces bytes that are not UTF-8 by this character, and a file could not be opened by such a name.
      if (entry.name.includes('\uFFFD')) throw sourceInvalid(path, 'has a name that is not UTF-8');
      if (folders.length + files.length + links.length >= limits.maxFiles) throw overMaxFiles(limits.maxFiles);
      if (entry.isDirectory()) {
        const before = files.length + links.length;
        const place = folders.push(path) - 1;
        await visit(path, depth + 1);
        // An excluded folder is part of the tree only if an exception (`!…`) includes something in it.
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

/** Returns a link's target as a relative path; an absolute one would lead from a copy back into the folder. */
async function linkTarget(root: string, path: string, givenRoot: string): Promise<string> {
  const link = join(root, path);
  const text = await readlink(link);
  const named = resolve(dirname(link), text);
  const target = isAbsolute(text) && isInside(givenRoot, named) ? join(root, relative(givenRoot, named)) : named;
  // Only the real path shows whether a link leads out through other links. A dangling link has none.
  const real = await realpath(link).catch(() => target);
  if (!isInside(root, target) || !isInside(root, real))
    throw sourceInvalid(path, `is a link that leads out of the folder (${text})`);
  if (!isAbsolute(text)) return text;
  return relative(dirname(link), target) || '.';
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}
