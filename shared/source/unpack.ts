/**
 * Unpacks an untrusted tar archive into a new folder. Uploads, git trees and build contexts all enter Holdfast through
 * it. It accepts folders, files and links that stay inside the tree, within the limits; anything else rejects the whole
 * archive and leaves nothing on disk. Links are created last, so that nothing can be written through one.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { AppError } from '../errors.ts';
import { overMaxBytes, overMaxFiles, skippedNames, sourceInvalid, type SourceLimits } from './limits.ts';
import { readTar } from './tar-reader.ts';
import { TarError, type TarHeader } from './tar-header.ts';
import { entryPath, linkTarget, refuseLeavingLinks, type TreeEntry } from './tree-entries.ts';
import { folderSink, noSink, type TreeSink } from './tree-sink.ts';
import { digestOf, isExecutable, type DigestedFile } from './tree-digest.ts';

export interface ArchiveOptions {
  readonly input: AsyncIterable<Uint8Array>;
  readonly gzip: boolean;
  /** The subfolder of the archive that becomes the tree; the rest is left out. */
  readonly dir?: string | undefined;
  readonly limits: SourceLimits;
  readonly signal: AbortSignal;
}

export interface UnpackOptions extends ArchiveOptions {
  /** An absolute path, which must not exist yet; its parent must. */
  readonly target: string;
}

export interface UnpackedTree {
  /** The digest of the tree, `sha256:<hex>`. */
  readonly digest: string;
  readonly files: number;
  /** Total size of their contents. */
  readonly bytes: number;
}

/**
 * The size that an archive may have beyond the contents of its files, for headers and trailing zeros. Without this
 * limit, an archive that consists of skipped headers could be endless.
 */
const overheadBytes = 4 * 1024 ** 2;
const overheadBytesPerFile = 4 * 1024;

/**
 * Unpacks the archive into `target`.
 * @throws AppError source_invalid (with the path and the problem or limit), source_not_found (no such `dir`); the
 *   signal's reason; errors of the file system and of the input.
 */
export async function unpackTree(options: UnpackOptions): Promise<UnpackedTree> {
  const { target } = options;
  await mkdir(target);
  try {
    return await readArchive(options, folderSink(target));
  } catch (error) {
    await rm(target, { recursive: true, force: true });
    throw error;
  }
}

/** Validates an archive without writing it to disk. @throws AppError as `unpackTree`. */
export function inspectTree(options: ArchiveOptions): Promise<UnpackedTree> {
  return readArchive(options, noSink);
}

async function readArchive(options: ArchiveOptions, sink: TreeSink): Promise<UnpackedTree> {
  const { input, gzip, signal } = options;
  const unpacking = new Unpacking(options, sink);
  try {
    const read = (bytes: AsyncIterable<Uint8Array>): Promise<void> => unpacking.read(bytes);
    const source = Readable.from(input, { objectMode: false });
    if (gzip) await pipeline(source, createGunzip(), read, { signal });
    else await pipeline(source, read, { signal });
    return await unpacking.finish();
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TarError) throw sourceInvalid(unpacking.lastPath, error.message, error);
    if (isZlibError(error)) throw sourceInvalid('', `is no whole gzip archive (${error.message})`, error);
    throw error;
  }
}

class Unpacking {
  /** The name of the last entry, for errors about the archive itself. */
  lastPath = '';
  readonly #options: ArchiveOptions;
  readonly #sink: TreeSink;
  /** All entries of the archive by path, including those outside `dir`. */
  readonly #entries = new Map<string, TreeEntry>();
  /** The files that were written, by their path in the target. */
  readonly #files = new Map<string, DigestedFile & { readonly bytes: number }>();
  #archiveBytes = 0;
  #bytes = 0;
  #entryCount = 0;

  constructor(options: ArchiveOptions, sink: TreeSink) {
    this.#options = options;
    this.#sink = sink;
  }

  read(input: AsyncIterable<Uint8Array>): Promise<void> {
    return readTar({
      input,
      onEntry: (header, content) => this.#take(header, content),
      onBytes: (count) => this.#countArchive(count),
    });
  }

  async finish(): Promise<UnpackedTree> {
    const { dir } = this.#options;
    if (dir !== undefined && this.#entries.get(dir)?.kind !== 'folder')
      throw new AppError('source_not_found', `the source has no folder ${dir}`, { phase: 'source' });
    const folders: string[] = [];
    const links: { path: string; target: string }[] = [];
    const inTree = new Map<string, TreeEntry>();
    for (const [path, entry] of this.#entries) {
      const place = this.#placeOf(path);
      if (place !== undefined) inTree.set(place, entry);
    }
    refuseLeavingLinks(inTree);
    for (const [path, entry] of inTree) {
      if (entry.kind === 'folder') folders.push(path);
      if (entry.kind === 'link') links.push({ path, target: entry.target });
    }
    for (const link of links) await this.#sink.link(link.path, link.target);
    return {
      digest: digestOf({ folders, links, files: [...this.#files.values()] }),
      files: this.#files.size,
      bytes: this.#bytes,
    };
  }

  async #take(header: TarHeader, content: AsyncIterable<Buffer>): Promise<void> {
    const { limits, signal } = this.#options;
    signal.throwIfAborted();
    this.lastPath = header.name;
    this.#entryCount += 1;
    if (this.#entryCount > limits.maxFiles) throw overMaxFiles(limits.maxFiles);
    const path = entryPath(header, limits);
    if (path === '' || path.split('/').some((segment) => skippedNames.has(segment))) return;
    if (header.type !== '0' && header.size !== 0) throw sourceInvalid(path, 'has content and is no file');
    switch (header.type) {
      case '5':
        await this.#addFolder(path);
        return;
      case '0':
        await this.#addNew(path, { kind: 'file' });
        await this.#writeFile(path, header, content);
        return;
      case '1':
        await this.#addNew(path, { kind: 'file' });
        await this.#copyLinked(path, header, limits);
        return;
      case '2':
        await this.#addNew(path, { kind: 'link', target: linkTarget(path, header) });
        return;
      default:
        throw sourceInvalid(path, `is no file, folder or link (${typeName(header.type)})`);
    }
  }

  async #addNew(path: string, entry: TreeEntry): Promise<void> {
    if (this.#entries.has(path)) throw sourceInvalid(path, 'is in the archive twice');
    const slash = path.lastIndexOf('/');
    if (slash > 0) await this.#addFolder(path.slice(0, slash));
    const { maxFiles } = this.#options.limits;
    if (this.#entries.size >= maxFiles) throw overMaxFiles(maxFiles);
    this.#entries.set(path, entry);
  }

  /** Adds a folder and its parents, which archives may omit. */
  async #addFolder(path: string): Promise<void> {
    const known = this.#entries.get(path);
    if (known?.kind === 'folder') return;
    if (known !== undefined) throw sourceInvalid(path, `is a ${known.kind} and a folder`);
    await this.#addNew(path, { kind: 'folder' });
    const place = this.#placeOf(path);
    if (place !== undefined) await this.#sink.folder(place);
  }

  async #writeFile(path: string, header: TarHeader, content: AsyncIterable<Buffer>): Promise<void> {
    const place = this.#placeOf(path);
    this.#countContent(header.size);
    if (place === undefined) return;
    const mode = isExecutable(header.mode) ? 0o755 : 0o644;
    const hash = createHash('sha256');
    const digested = async function* (): AsyncGenerator<Buffer> {
      for await (const chunk of content) {
        hash.update(chunk);
        yield chunk;
      }
    };
    await this.#sink.file(place, mode, digested());
    this.#files.set(place, { path: place, mode, digest: hash.digest('hex'), bytes: header.size });
  }

  /** Writes a hard link as a copy of an earlier file in the same tree. */
  async #copyLinked(path: string, header: TarHeader, limits: SourceLimits): Promise<void> {
    const place = this.#placeOf(path);
    if (place === undefined) return;
    const from = this.#placeOf(entryPath({ ...header, name: header.linkName }, limits));
    const original = from === undefined ? undefined : this.#files.get(from);
    if (original === undefined)
      throw sourceInvalid(path, `is a hard link to no file that came before (${header.linkName})`);
    this.#countContent(original.bytes);
    await this.#sink.copy(place, original.path);
    this.#files.set(place, { ...original, path: place });
  }

  /** Returns the path in the target, or undefined for an entry outside `dir`. */
  #placeOf(path: string): string | undefined {
    const { dir } = this.#options;
    if (dir === undefined) return path;
    return path.startsWith(`${dir}/`) ? path.slice(dir.length + 1) : undefined;
  }

  /** Adds the declared size of an entry before its content is written. @throws AppError if all contents exceed `maxBytes`. */
  #countContent(count: number): void {
    const { maxBytes } = this.#options.limits;
    this.#bytes += count;
    if (this.#bytes > maxBytes) throw overMaxBytes(maxBytes);
  }

  #countArchive(count: number): void {
    const { maxBytes, maxFiles } = this.#options.limits;
    this.#archiveBytes += count;
    if (this.#archiveBytes > maxBytes + overheadBytes + maxFiles * overheadBytesPerFile) throw overMaxBytes(maxBytes);
  }
}

function typeName(type: string): string {
  const names: Readonly<Record<string, string>> = {
    '3': 'a device',
    '4': 'a device',
    '6': 'a pipe',
    S: 'a sparse file',
  };
  return names[type] ?? `tar type ${JSON.stringify(type)}`;
}

function isZlibError(error: unknown): error is Error {
  return error instanceof Error && String((error as NodeJS.ErrnoException).code).startsWith('Z_');
}
