/**
 * Lists the files of a folder that are the source: what rules leave out is not in the list, and what a source must not contain is
 * refused. Snapshots, uploads and the watching of folders all take this list. It reads names only, no contents.
 */
import type { Dirent } from 'node:fs';
import { lstat, readdir, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import type { Excludes } from './dockerignore.ts';
import { byDockerignore, LeftOutLog, type LeftOut } from './left-out.ts';
import { ignoreAdvice, overMaxFiles, readError, skippedNames, sourceInvalid, type SourceLimits } from './limits.ts';
import type { MadeFolders } from './made-folders.ts';
import { refuseLeavingLinks } from './tree-entries.ts';

export interface TreeListing {
  /** The folders, parents before children. */
  readonly folders: readonly string[];
  readonly files: readonly TreeFile[];
  readonly links: readonly TreeLink[];
  readonly leftOut: LeftOut;
}

export interface TreeFile {
  readonly path: string;
  readonly mode: number;
}

export interface TreeLink {
  readonly path: string;
  /** The target, relative to the folder of the link. */
  readonly target: string;
}

/** What is left out of a folder besides what is never part of a source. */
export interface SourceRules {
  readonly excludes?: Excludes | undefined;
  /** Names who excludes: `.dockerignore`, `preset node`. */
  readonly excludedBy?: string;
  readonly made?: MadeFolders | undefined;
}

export interface WalkOptions {
  readonly root: string;
  readonly rules?: SourceRules;
  /** Absolute paths to leave out. */
  readonly skip?: ReadonlySet<string>;
  readonly limits: Pick<SourceLimits, 'maxFiles' | 'maxDepth'> & Partial<SourceLimits>;
  readonly signal: AbortSignal;
}

const linkAdvice = `: replace it with what it points to, or list it in .dockerignore`;

/** @throws AppError source_invalid, which names the path; the reason of the signal; errors of the file system. */
export async function walkTree(options: WalkOptions): Promise<TreeListing> {
  // The targets of links are compared as real paths, so the root has to be one too; it may itself be reached by a link.
  return await new Walk(options, await realpath(options.root)).list();
}

class Walk {
  readonly #options: WalkOptions;
  readonly #root: string;
  readonly #folders: string[] = [];
  readonly #files: TreeFile[] = [];
  readonly #links: TreeLink[] = [];
  readonly #leftOut = new LeftOutLog();
  /** The number of entries by the folder of the root that holds them. */
  readonly #perFolder = new Map<string, number>();

  constructor(options: WalkOptions, root: string) {
    this.#options = options;
    this.#root = root;
  }

  /** Lists the root. */
  async list(): Promise<TreeListing> {
    await this.#entriesOf('', await this.#read(''), 0);
    refuseLeavingLinks(new Map(this.#links.map(({ path, target }) => [path, { kind: 'link', target }])), linkAdvice);
    return { folders: this.#folders, files: this.#files, links: this.#links, leftOut: this.#leftOut };
  }

  async #entriesOf(folder: string, found: readonly Dirent[], depth: number): Promise<void> {
    const { signal, skip, rules, root } = this.#options;
    const names = new Set(found.map(({ name }) => name));
    for (const entry of found) {
      signal.throwIfAborted();
      const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
      const isFolder = entry.isDirectory();
      if (skip?.has(join(root, path)) === true) continue;
      const excludes = rules?.excludes;
      const isExcluded = excludes?.ignores(path) === true;
      const why = this.#whyNever(entry.name, isFolder, names);
      if (why !== undefined) this.#leftOut.add({ path, isFolder, why });
      else if (isExcluded && !(isFolder && excludes.mayHoldIncluded(path)))
        this.#leftOut.add({ path, isFolder, why: rules?.excludedBy ?? byDockerignore });
      else if (isFolder) await this.#folder(path, depth + 1, isExcluded);
      else await this.#entry(path, entry);
    }
  }

  /** Why the entry is left out whatever the rules exclude, unless one of their exceptions names it. */
  #whyNever(name: string, isFolder: boolean, beside: ReadonlySet<string>): string | undefined {
    if (skippedNames.has(name)) return '';
    const why = isFolder ? this.#options.rules?.made?.byName(name, beside) : undefined;
    return why === undefined || this.#isNamedByException(name) ? undefined : why;
  }

  #isNamedByException(name: string): boolean {
    return this.#options.rules?.excludes?.hasExceptionFor(name) === true;
  }

  /** @param isExcluded whether the folder is part of the tree only if an exception (`!…`) includes something in it. */
  async #folder(path: string, depth: number, isExcluded: boolean): Promise<void> {
    const { limits, rules } = this.#options;
    const found = await this.#read(path);
    const why = rules?.made?.byContent(new Set(found.map(({ name }) => name)));
    if (why !== undefined && !this.#isNamedByException(basename(path))) {
      this.#leftOut.add({ path, isFolder: true, why });
      return;
    }
    if (depth > limits.maxDepth) throw sourceInvalid(path, `is more than ${limits.maxDepth} folders deep`);
    this.#admit(path);
    const place = this.#folders.push(path) - 1;
    const before = this.#files.length + this.#links.length;
    await this.#entriesOf(path, found, depth);
    if (isExcluded && this.#files.length + this.#links.length === before) this.#folders.splice(place);
  }

  async #entry(path: string, entry: Dirent): Promise<void> {
    this.#admit(path);
    if (entry.isFile()) {
      this.#files.push({ path, mode: (await lstat(join(this.#root, path))).mode & 0o777 });
    } else if (entry.isSymbolicLink()) {
      this.#links.push({ path, target: await this.#targetOf(path) });
    } else {
      throw sourceInvalid(path, `is no file, folder or link (a device, socket or pipe)${ignoreAdvice}`);
    }
  }

  async #read(folder: string): Promise<Dirent[]> {
    try {
      return await readdir(join(this.#root, folder), { withFileTypes: true });
    } catch (error) {
      throw readError(folder, error);
    }
  }

  /** Counts an entry that is taken. @throws AppError source_invalid over a bound. */
  #admit(path: string): void {
    const { maxFiles, maxPathBytes } = this.#options.limits;
    // readdir replaces bytes that are not UTF-8 by this character, and a file could not be opened by such a name.
    if (path.includes('\uFFFD')) throw sourceInvalid(path, `has a name that is not UTF-8${ignoreAdvice}`);
    if (maxPathBytes !== undefined && Buffer.byteLength(path) > maxPathBytes)
      throw sourceInvalid(path, `has a path of more than ${maxPathBytes} bytes`);
    const [top = ''] = path.split('/', 1);
    this.#perFolder.set(top, (this.#perFolder.get(top) ?? 0) + 1);
    if (this.#folders.length + this.#files.length + this.#links.length < maxFiles) return;
    const [folder, files] = [...this.#perFolder].reduce((most, one) => (one[1] > most[1] ? one : most), ['', 0]);
    throw overMaxFiles(maxFiles, { folder, files });
  }

  /** Returns a link's target as a relative path that does not leave the folder and come back, which would be another folder in a copy. */
  async #targetOf(path: string): Promise<string> {
    const text = await readlink(join(this.#root, path));
    const isOutside = isAbsolute(text) || join(dirname(path), text).split(sep)[0] === '..';
    if (!isOutside) return text;
    for (const root of [this.#root, resolve(this.#options.root)]) {
      const target = resolve(root, dirname(path), text);
      if (isInside(root, target)) return relative(join(root, dirname(path)), target) || '.';
    }
    throw sourceInvalid(path, `is a link that leads out of the folder (${text})${linkAdvice}`);
  }
}

function isInside(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}
