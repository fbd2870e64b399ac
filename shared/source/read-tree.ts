/** Reads the files of a folder that may change meanwhile. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../errors.ts';
import { readError } from './limits.ts';

/** A file that is not what it was when it was listed. */
export class ChangedWhileRead extends AppError {
  constructor(path: string, cause?: unknown) {
    super('source_invalid', `${path} changed while it was read; try again`, { phase: 'source', cause });
  }
}

/** A folder that changes while it is read is read again, up to this many times in all. */
const maxAttempts = 4;
/** What the file system says of entries that have disappeared, or have become something else. */
const goneCodes: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ELOOP', 'ENOTDIR', 'EISDIR', 'ENXIO', 'ESTALE']);

/**
 * Opens a listed file. It may have become a link or a pipe since: a link is not followed, and a pipe is not waited for.
 * @throws AppError source_invalid if it may not be read, or is no file any longer; errors of the file system.
 */
export async function openTreeFile(root: string, path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(join(root, path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    throw readError(path, error);
  }
  const isFile = await file.stat().then((stat) => stat.isFile());
  if (isFile) return file;
  await file.close();
  throw new ChangedWhileRead(path);
}

/**
 * Runs the work, again if something disappeared or changed while it read: editors replace files when they save.
 * @throws what the work throws; the signal's reason.
 */
export async function readWhileStill<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      const isGone = error instanceof ChangedWhileRead || goneCodes.has((error as NodeJS.ErrnoException).code);
      if (!isGone || attempt >= maxAttempts) throw error;
    }
  }
}
