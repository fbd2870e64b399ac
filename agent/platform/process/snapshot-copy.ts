/** Copies the files of a snapshot, and computes their digests from the bytes that are written. */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { overMaxBytes } from '../../../shared/source/limits.ts';
import { openTreeFile } from '../../../shared/source/read-tree.ts';
import { isExecutable, type DigestedFile } from '../../../shared/source/tree-digest.ts';
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
}): Promise<{ readonly files: DigestedFile[]; readonly bytes: number }> {
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
    // The same modes as those of a tree that was uploaded.
    const mode = isExecutable(file.mode) ? 0o755 : 0o644;
    const from = await openTreeFile(root, file.path);
    try {
      const to = await open(join(copy, file.path), 'wx', mode);
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
        await to.chmod(mode);
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
  return { files: copied, bytes: totalBytes };
}
