/** Destinations for the entries of an archive: a new folder, or nothing if the archive is only inspected. */
import { constants, copyFile, mkdir, open, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { sourceInvalid } from './limits.ts';

/** Receives validated relative paths, each once: folders before their contents, and links last. */
export interface TreeSink {
  folder(path: string): Promise<void>;
  /** Writes a file, and reads the content to its end. */
  file(path: string, mode: number, content: AsyncIterable<Buffer>): Promise<void>;
  /** Writes a file with the content of an earlier file. */
  copy(path: string, from: string): Promise<void>;
  link(path: string, target: string): Promise<void>;
}

/** Writes to a folder, never through a link or over a file, even if the file system treats two names as one. */
export function folderSink(target: string): TreeSink {
  return {
    folder: (path) => mkdir(join(target, path)).catch(sameName(path)),
    async file(path, mode, content) {
      const file = await open(join(target, path), 'wx', mode).catch(sameName(path));
      try {
        for await (const chunk of content) await file.writeFile(chunk);
        // The umask reduces the mode passed to `open`.
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
