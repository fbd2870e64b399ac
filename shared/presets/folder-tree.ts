/** Lets presets read a folder on disk. Links are not followed: presets need none, and a source may be hostile. */
import { constants } from 'node:fs';
import { lstat, open, readdir, realpath } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { AppError } from '../errors.ts';
import { decodeText } from './text.ts';
import type { PresetTree } from './tree.ts';

/** The size limit of a file that presets read: manifests, the head of lock files, and the source of the app object. */
const maxBytes = 16 * 1024 * 1024;

/** @param root an absolute path. */
export function folderTree(root: string): PresetTree {
  /** Returns the absolute path, unless a link on the way leads out of the folder. */
  async function inside(path: string): Promise<string | undefined> {
    const absolute = join(root, path);
    const [base, folder] = await Promise.all([realpath(root), realpath(dirname(absolute)).catch(() => undefined)]);
    const isInside = folder !== undefined && (folder === base || folder.startsWith(base + sep));
    return isInside || path === '' ? absolute : undefined;
  }

  return {
    async has(path) {
      const absolute = await inside(path);
      if (absolute === undefined) return false;
      return lstat(absolute).then(
        (found) => found.isFile(),
        () => false,
      );
    },
    async read(path) {
      const absolute = await inside(path);
      if (absolute === undefined) return undefined;
      const file = await open(absolute, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
        () => undefined,
      );
      if (file === undefined) return undefined;
      try {
        const { size, isFile } = await file.stat().then((found) => ({ size: found.size, isFile: found.isFile() }));
        if (!isFile) return undefined;
        if (size > maxBytes) {
          throw new AppError('source_invalid', `${path} is larger than ${maxBytes / 1024 ** 2} MiB`, {
            phase: 'source',
          });
        }
        return decodeText(await file.readFile());
      } finally {
        await file.close();
      }
    },
    async list(folder) {
      const absolute = await inside(folder);
      if (absolute === undefined) return [];
      const entries = await readdir(absolute, { withFileTypes: true }).catch(() => []);
      return entries
        .filter((entry) => entry.isFile() || entry.isDirectory())
        .map((entry) => ({ name: entry.name, kind: entry.isFile() ? ('file' as const) : ('folder' as const) }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
}
