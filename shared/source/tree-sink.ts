/** Where the entries of an archive go: into a fresh folder, or nowhere when an archive is only looked at. */
import { constants, copyFile, mkdir, open, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { sourceInvalid } from './limits.ts';

/** Paths are checked, relative, and given once; folders come before what is in them, links after everything else. */
export interface TreeSink {
  folder(path: string): Promise<void>;
  /** Reads the content to its end. */
  file(path: string, mode: number, content: AsyncIterable<Buffer>): Promise<void>;
  /** A file with the content of one that came before. */
  copy(path: string, from: string): Promise<void>;
  link(path: string, target: string): Promise<void>;
}

/** Nothing is written through a link or over a file, also where the file system takes two names for one. */
export function folderSink(target: string): TreeSink {
  return {
    folder: (path) => mkdir(join(target, path)).catch(sameName(path)),
    async file(path, mode, content) {
      const file = await open(join(target, path), 'wx', mode).catch(sameName(path));
      try {
        for await (const chunk of content) await file.writeFile(chunk);
        // The mode given to `open` is cut by the umask.
        await file.chmod(mode);
      } finally {
        await file.close();
      }
    },
    copy: (path, from) =>
      copyFile(join(target, from), join(target, path), constants.COPYFILE_EXCL).catch(sameName(path)),
    link: (path, text) => symlink(text, join(target, path)).catch(sameName(path)),
  };
}

export const noSink: TreeSink = {
  async folder() {},
  async file(_path, _mode, content) {
    const chunks = content[Symbol.asyncIterator]();
    while ((await chunks.next()).done !== true);
  },
  async copy() {},
  async link() {},
};

function sameName(path: string): (error: unknown) => never {
  return (error) => {
    const { code } = error as NodeJS.ErrnoException;
    throw code === 'EEXIST' ? sourceInvalid(path, 'has the name of another entry on this file system', error) : error;
  };
}
