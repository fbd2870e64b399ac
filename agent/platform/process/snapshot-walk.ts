/** Lists what a source folder holds, refusing what a snapshot cannot or must not hold. Nothing is read but names. */
import { lstat, readdir, readlink, realpath } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { AppError } from '../../../shared/errors.ts';

/** Paths are relative to the root. */
export interface Tree {
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

const skippedNames = new Set(['.git', '.holdfast']);

/** @throws AppError source_invalid naming the path; the reason of the signal; errors of the file system. */
export async function walkTree(options: {
  readonly root: string;
  /** Absolute paths that are left out. */
  readonly skip: ReadonlySet<string>;
  readonly limits: { readonly maxFiles: number; readonly maxDepth: number };
  readonly signal: AbortSignal;
}): Promise<Tree> {
  const { root, skip, limits, signal } = options;
  const folders: string[] = [];
  const files: TreeFile[] = [];
  const links: TreeLink[] = [];

  async function visit(folder: string, depth: number): Promise<void> {
    if (depth > limits.maxDepth) throw refused(folder, `is more than ${limits.maxDepth} folders deep`);
    for (const entry of await readdir(join(root, folder), { withFileTypes: true })) {
      signal.throwIfAborted();
      const path = join(folder, entry.name);
      if (skippedNames.has(entry.name) || skip.has(join(root, path))) continue;
      // What readdir puts for bytes that are not UTF-8: the name could not be opened again.
      if (entry.name.includes('\uFFFD')) throw refused(path, 'has a name that is not UTF-8');
      if (folders.length + files.length + links.length >= limits.maxFiles) {
        throw refused('', `holds more than ${limits.maxFiles} files; point to a smaller folder`);
      }
      if (entry.isDirectory()) {
        folders.push(path);
        await visit(path, depth + 1);
      } else if (entry.isFile()) {
        files.push({ path, mode: (await lstat(join(root, path))).mode & 0o777 });
      } else if (entry.isSymbolicLink()) {
        links.push({ path, target: await linkTarget(root, path) });
      } else {
        throw refused(path, 'is no file, folder or link (a device, socket or pipe)');
      }
    }
  }

  await visit('', 0);
  return { folders, files, links };
}

/** Where the link leads, as a relative path: an absolute one would lead from the snapshot back into the folder. */
async function linkTarget(root: string, path: string): Promise<string> {
  const link = join(root, path);
  const text = await readlink(link);
  const target = resolve(dirname(link), text);
  // A link may lead out by way of other links: the real path tells. A dangling one has none.
  const real = await realpath(link).catch(() => target);
  if (!isInside(root, target) || !isInside(root, real))
    throw refused(path, `is a link that leads out of the folder (${text})`);
  if (!isAbsolute(text)) return text;
  return relative(dirname(link), target) || '.';
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}

function refused(path: string, what: string): AppError {
  return new AppError('source_invalid', `${path === '' ? 'the source' : path} ${what}`, { phase: 'source' });
}
