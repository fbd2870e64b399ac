/** Copies the files of a snapshot and takes their digests from the very bytes that are written. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.ts';
import type { TreeFile, TreeLink } from './snapshot-walk.ts';

export interface CopyLimits {
  readonly maxBytes: number;
}

interface CopiedFile extends TreeFile {
  /** SHA-256, hex. */
  readonly digest: string;
}

const parallelCopies = 8;
const chunkBytes = 64 * 1024;

/** @throws AppError source_invalid over the limit; the reason of the signal; errors of the file system. */
export async function copyFiles(options: {
  readonly root: string;
  readonly copy: string;
  readonly files: readonly TreeFile[];
  readonly limits: CopyLimits;
  readonly signal: AbortSignal;
}): Promise<CopiedFile[]> {
  const { root, copy, files, limits, signal } = options;
  const copied: CopiedFile[] = [];
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
    // What was a file when it was listed may be a link or a pipe now: neither is followed or waited for.
    const from = await open(join(root, file.path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const to = await open(join(copy, file.path), 'wx', file.mode);
      try {
        for (;;) {
          signal.throwIfAborted();
          const { bytesRead } = await from.read(buffer, 0, chunkBytes);
          if (bytesRead === 0) break;
          totalBytes += bytesRead;
          if (totalBytes > limits.maxBytes) throw tooLarge(limits.maxBytes);
          hash.update(buffer.subarray(0, bytesRead));
          await to.writeFile(buffer.subarray(0, bytesRead));
        }
        // The mode given to `open` is cut by the umask.
        await to.chmod(file.mode);
      } finally {
        await to.close();
      }
    } finally {
      await from.close();
    }
    return hash.digest('hex');
  }

  // All end, so that nothing is written any more when the caller removes the copy.
  const results = await Promise.allSettled(Array.from({ length: parallelCopies }, work));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return copied;
}

/** SHA-256 over kinds, modes, paths and contents, sorted by path, whatever order the file system lists them in. */
export function digestOf(tree: {
  readonly folders: readonly string[];
  readonly links: readonly TreeLink[];
  readonly files: readonly CopiedFile[];
}): string {
  const entries: (readonly [path: string, rest: readonly string[]])[] = [
    ...tree.folders.map((path) => [path, ['folder']] as const),
    ...tree.links.map(({ path, target }) => [path, ['link', target]] as const),
    ...tree.files.map(({ path, mode, digest }) => [path, ['file', mode.toString(8), digest]] as const),
  ];
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash('sha256');
  // JSON keeps apart what plain joining could confuse.
  for (const entry of entries) hash.update(`${JSON.stringify(entry)}\n`);
  return `sha256:${hash.digest('hex')}`;
}

function tooLarge(maxBytes: number): AppError {
  return new AppError(
    'source_invalid',
    `the source is larger than ${maxBytes / (1024 * 1024)} MiB; point to a smaller folder`,
    {
      phase: 'source',
    },
  );
}
