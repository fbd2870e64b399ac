/** Copies the files of a snapshot, and computes their digests from the bytes that are written. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { overMaxBytes } from '../../../shared/source/limits.ts';
import type { DigestedFile } from '../../../shared/source/tree-digest.ts';
import type { TreeFile } from '../../../shared/source/tree-walk.ts';

export interface CopyLimits {
  readonly maxBytes: number;
}

const parallelCopies = 8;
const chunkBytes = 64 * 1024;

/** @throws AppError source_invalid over the limit; the signal's reason; errors of the file system. */
export async function copyFiles(options: {
  readonly root: string;
  readonly copy: string;
  readonly files: readonly TreeFile[];
  readonly limits: CopyLimits;
  readonly signal: AbortSignal;
}): Promise<DigestedFile[]> {
  const { root, copy, files, limits, signal } = options;
  const copied: DigestedFile[] = [];
  let totalBytes = 0;
  let position = 0;
  let stop = false;

  async function work(): Promise<void> {
    const buffer = Buffer.allocUnsafe(chunkBytes);
    for (let file = files[position++]; file !== undefined && !stop; file = files[position++]) {
      try {
        copied.push({ ...file, digest: await copyFile(file, buffer) });
      } catch (error) {
        stop = true;
        throw error;
      }
    }
  }

  async function copyFile(file: TreeFile, buffer: Buffer): Promise<string> {
    const hash = createHash('sha256');
    // A file may have become a link or a pipe since it was listed: a link is not followed, and a pipe is not waited for.
    const from = await open(join(root, file.path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const to = await open(join(copy, file.path), 'wx', file.mode);
      try {
        for (;;) {
          signal.throwIfAborted();
          const { bytesRead } = await from.read(buffer, 0, chunkBytes);
          if (bytesRead === 0) break;
          totalBytes += bytesRead;
          if (totalBytes > limits.maxBytes) throw overMaxBytes(limits.maxBytes);
          hash.update(buffer.subarray(0, bytesRead));
          await to.writeFile(buffer.subarray(0, bytesRead));
        }
        // The umask restricts the mode that `open` is given.
        await to.chmod(file.mode);
      } finally {
        await to.close();
      }
    } finally {
      await from.close();
    }
    return hash.digest('hex');
  }

  // Wait for all, so that nothing is written when the caller removes the copy.
  const results = await Promise.allSettled(Array.from({ length: parallelCopies }, work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return copied;
}
