/** Packs a tree as tar.gz. Entries are sorted and have no times or owners, so equal trees give equal archives. */
import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { LeftOut } from './left-out.ts';
import { overMaxBytes, type SourceLimits } from './limits.ts';
import { ChangedWhileRead, openTreeFile, readWhileStill } from './read-tree.ts';
import { blockBytes, encodeHeader, padding } from './tar-header.ts';
import { isExecutable } from './tree-digest.ts';
import { walkTree, type SourceRules, type TreeFile, type TreeListing } from './tree-walk.ts';

const chunkBytes = 64 * 1024;

export interface PackProgress {
  readonly files: number;
  /** Total size of their contents. */
  readonly bytes: number;
}

export interface PackedFolder {
  /** SHA-256 of the archive in hex, which names it in `sources.begin`. */
  readonly archive: string;
  /** Size of the archive. */
  readonly bytes: number;
  readonly files: number;
  readonly treeBytes: number;
  readonly leftOut: LeftOut;
}

/** Returns the archive as a stream. Its errors are AppError source_invalid, AbortError and those of the file system. */
export function packTree(options: {
  readonly root: string;
  readonly listing: TreeListing;
  /** Contents by path; each replaces the tree's file of the same path. */
  readonly extraFiles?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onProgress?: (done: PackProgress) => void;
  readonly maxBytes?: number;
}): Readable {
  const gzip = createGzip();
  const tar = tarStream(options);
  // A failure destroys the returned stream, which reports it.
  pipeline(tar, gzip, { signal: options.signal }).catch(() => undefined);
  return gzip;
}

/**
 * Packs a folder into a new file.
 * @throws AppError source_invalid; the signal's reason; errors of the file system.
 */
export async function packFolder(options: {
  readonly root: string;
  readonly rules?: SourceRules;
  readonly file: string;
  readonly limits: SourceLimits;
  readonly signal: AbortSignal;
  readonly onProgress?: (done: PackProgress) => void;
}): Promise<PackedFolder> {
  return await readWhileStill(async () => {
    const listing = await walkTree(options);
    return { ...(await packListing(options, listing)), leftOut: listing.leftOut };
  }, options.signal);
}

async function packListing(
  options: Parameters<typeof packFolder>[0],
  listing: TreeListing,
): Promise<Omit<PackedFolder, 'leftOut'>> {
  const { root, file, limits, signal } = options;
  const hash = createHash('sha256');
  let bytes = 0;
  let done: PackProgress = { files: 0, bytes: 0 };
  const onProgress = (now: PackProgress): void => {
    done = now;
    options.onProgress?.(now);
  };
  await pipeline(
    tarStream({ root, listing, signal, onProgress, maxBytes: limits.maxBytes }),
    createGzip(),
    async function* (archive: AsyncIterable<Buffer>) {
      for await (const chunk of archive) {
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
    },
    createWriteStream(file, { flags: 'w', mode: 0o600 }),
    { signal },
  ).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
  return { archive: hash.digest('hex'), bytes, files: done.files, treeBytes: done.bytes };
}

type Entry =
  | { readonly kind: 'folder' | 'extra'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly file: TreeFile }
  | { readonly kind: 'link'; readonly path: string; readonly target: string };

function tarStream(options: Parameters<typeof packTree>[0]): Readable {
  return Readable.from(tarOf(options), { objectMode: false, highWaterMark: chunkBytes });
}

async function* tarOf(options: Parameters<typeof packTree>[0]): AsyncGenerator<Buffer> {
  const { root, listing, extraFiles = {}, signal, onProgress, maxBytes = Number.POSITIVE_INFINITY } = options;
  let bytes = 0;
  let files = 0;
  for (const entry of entriesOf(listing, extraFiles)) {
    signal.throwIfAborted();
    switch (entry.kind) {
      case 'folder':
        yield encodeHeader({ name: `${entry.path}/`, mode: 0o755, size: 0, type: '5', linkName: '' });
        break;
      case 'link':
        yield encodeHeader({ name: entry.path, mode: 0o777, size: 0, type: '2', linkName: entry.target });
        break;
      case 'extra': {
        const data = Buffer.from(extraFiles[entry.path] ?? '');
        yield encodeHeader({ name: entry.path, mode: 0o644, size: data.length, type: '0', linkName: '' });
        yield Buffer.concat([data, Buffer.alloc(padding(data.length))]);
        break;
      }
      case 'file':
        for await (const chunk of fileEntry(root, entry.file)) {
          signal.throwIfAborted();
          yield chunk.bytes;
          bytes += chunk.contentBytes;
          if (bytes > maxBytes) throw overMaxBytes(maxBytes);
        }
        files += 1;
        onProgress?.({ files, bytes });
        break;
    }
  }
  yield Buffer.alloc(2 * blockBytes);
}

async function* fileEntry(root: string, file: TreeFile): AsyncGenerator<{ bytes: Buffer; contentBytes: number }> {
  const changed = (): Error => new ChangedWhileRead(file.path);
  const from = await openTreeFile(root, file.path);
  try {
    const stat = await from.stat();
    const mode = isExecutable(file.mode) ? 0o755 : 0o644;
    yield {
      bytes: encodeHeader({ name: file.path, mode, size: stat.size, type: '0', linkName: '' }),
      contentBytes: 0,
    };
    for (let left = stat.size; left > 0;) {
      const { bytesRead, buffer } = await from.read(Buffer.allocUnsafe(Math.min(left, chunkBytes)));
      if (bytesRead === 0) throw changed();
      left -= bytesRead;
      yield { bytes: buffer.subarray(0, bytesRead), contentBytes: bytesRead };
    }
    yield { bytes: Buffer.alloc(padding(stat.size)), contentBytes: 0 };
  } finally {
    await from.close();
  }
}

/** Returns the entries sorted by path, so that folders come before their contents. */
function entriesOf(listing: TreeListing, extraFiles: Readonly<Record<string, string>>): Entry[] {
  const extra = new Set(Object.keys(extraFiles));
  const folders = new Set(listing.folders);
  for (const path of extra) {
    for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1)) folders.add(path.slice(0, end));
  }
  const entries: Entry[] = [
    ...[...folders].map((path) => ({ kind: 'folder', path }) as const),
    ...[...extra].map((path) => ({ kind: 'extra', path }) as const),
    ...listing.links.filter(({ path }) => !extra.has(path)).map((link) => ({ kind: 'link', ...link }) as const),
    ...listing.files
      .filter(({ path }) => !extra.has(path))
      .map((file) => ({ kind: 'file', path: file.path, file }) as const),
  ];
  return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
}
