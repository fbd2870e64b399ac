/**
 * Watches the files of a folder that are its source. Only folders that are taken are watched, so that installed dependencies and other
 * folders that are left out use none of the system's watches. After each burst of events the folder is listed, and a listing that differs
 * from the one before is a change. Where the system reports nothing (network file systems, no watches left), listing now and then finds
 * the changes.
 */
import { type FSWatcher, watch } from 'node:fs';
import { lstat, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toAppError } from '../errors.ts';
import { skippedNames, type SourceLimits } from '../source/limits.ts';
import { type SourceRules, type TreeListing, walkTree } from '../source/tree-walk.ts';
import type { Clock } from '../wait/clock.ts';
import { type BuildSpec, sourceRules } from './source-rules.ts';

export interface FolderWatchOptions {
  readonly root: string;
  /** What the app says about its build now, which decides what is left out. */
  readonly spec: () => BuildSpec;
  /** Absolute paths to leave out. */
  readonly skip?: ReadonlySet<string>;
  readonly limits: SourceLimits;
  readonly clock: Clock;
  /** Called after the first listing, and after each change once the folder has been still for a moment. */
  readonly onChange: () => void;
}

/** The folder is listed when it has been still for this long … */
const quietMs = 80;
/** … but not later than this after the first event. */
const maxQuietMs = 400;
/** How long a git command that rewrites the folder is waited for. */
const maxGitMs = 10_000;
/** Pauses between listings that no event asked for, as multiples of the time that a listing takes. */
const idleFactor = 50;
const minIdleMs = 3_000;
/** The same, if the system does not report every change. */
const pollFactor = 10;
const minPollMs = 700;
const maxPollMs = 30_000;
/** The most folders that are watched; the changes of others are found by listing. */
const maxWatches = 4_096;

/** Identifies a folder even if another one takes its path. */
type FolderId = string;

export class FolderWatch {
  readonly #options: FolderWatchOptions;
  readonly #watchers = new Map<string, { readonly id: FolderId; readonly watcher: FSWatcher }>();
  #rules: SourceRules = {};
  #print: string | undefined;
  #isComplete = true;
  #isScanning = false;
  #isDirty = false;
  #firstEventMs: number | undefined;
  #scanMs = 0;
  #stopTimer: () => void = () => undefined;
  readonly #closing = new AbortController();
  #scan: Promise<void> = Promise.resolve();

  constructor(options: FolderWatchOptions) {
    this.#options = options;
    this.#begin();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#stopTimer();
    await this.#scan;
    this.#unwatch(() => true);
  }

  #begin(): void {
    if (this.#closing.signal.aborted || this.#isScanning) return;
    this.#isScanning = true;
    this.#isDirty = false;
    this.#firstEventMs = undefined;
    this.#scan = this.#look().finally(() => {
      this.#isScanning = false;
      this.#schedule();
    });
  }

  /** An event came in; `name` is relative to the watched folder. */
  #onEvent(folder: string, name: string | null): void {
    if (name !== null && this.#isIrrelevant(folder === '' ? name : `${folder}/${name}`, name)) return;
    this.#isDirty = true;
    this.#firstEventMs ??= this.#options.clock.nowMs();
    if (!this.#isScanning) this.#schedule();
  }

  #isIrrelevant(path: string, name: string): boolean {
    if (skippedNames.has(name)) return true;
    const { excludes } = this.#rules;
    return excludes !== undefined && excludes.ignores(path) && !excludes.mayHoldIncluded(path);
  }

  #schedule(): void {
    this.#stopTimer();
    if (this.#closing.signal.aborted) return;
    const { clock } = this.#options;
    const pauseMs = this.#isDirty
      ? Math.max(0, Math.min(quietMs, (this.#firstEventMs ?? 0) + maxQuietMs - clock.nowMs()))
      : this.#isComplete
        ? Math.max(minIdleMs, this.#scanMs * idleFactor)
        : Math.max(minPollMs, this.#scanMs * pollFactor);
    this.#stopTimer = clock.after(Math.min(pauseMs, maxPollMs), () => this.#begin());
  }

  /** Lists the folder, watches what is new, and tells of a difference. Never rejects. */
  async #look(): Promise<void> {
    const { root, clock, onChange } = this.#options;
    const startMs = clock.nowMs();
    // While git rewrites the folder, it is neither what it was nor what it will be.
    if (this.#print !== undefined && (await isRewrittenByGit(root)) && this.#gitMs(startMs) < maxGitMs) {
      this.#isDirty = true;
      this.#firstEventMs = startMs;
      return;
    }
    this.#gitSinceMs = undefined;
    const print = await this.#list();
    this.#scanMs = clock.nowMs() - startMs;
    if (this.#closing.signal.aborted || print === undefined || print === this.#print) return;
    this.#print = print;
    onChange();
  }

  #gitSinceMs: number | undefined;
  #gitMs(nowMs: number): number {
    this.#gitSinceMs ??= nowMs;
    return nowMs - this.#gitSinceMs;
  }

  /** Returns what tells one state of the folder from another; undefined if there is no such folder now. */
  async #list(): Promise<string | undefined> {
    const { root, spec, skip, limits } = this.#options;
    const { signal } = this.#closing;
    try {
      const rules = await sourceRules(root, spec());
      this.#rules = rules;
      const listing = await walkTree({ root, rules, ...(skip === undefined ? {} : { skip }), limits, signal });
      if (await this.#watchAll(listing)) this.#onEvent('', null);
      return JSON.stringify([listing.folders, listing.links, await stampsOf(root, listing)]);
    } catch (error) {
      if (signal.aborted) return undefined;
      // Something disappeared meanwhile, or the folder itself is gone: it is looked for again.
      this.#isComplete = false;
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') {
        if ((await stat(root).catch(() => undefined)) === undefined) this.#unwatch(() => true);
        else this.#onEvent('', null);
        return undefined;
      }
      await this.#watchAll({ folders: [] });
      // A folder that cannot be a source: who takes it learns why.
      return toAppError(error).message;
    }
  }

  /** Watches these folders, and no others. @returns whether some were not watched before, so that changes in them may have been missed. */
  async #watchAll({ folders }: Pick<TreeListing, 'folders'>): Promise<boolean> {
    const wanted = new Map<string, FolderId>();
    for (const folder of ['', ...folders].slice(0, maxWatches)) {
      // The root may be reached by a link; links in it are no folders of the listing.
      const found = await stat(join(this.#options.root, folder), { bigint: true }).catch(() => undefined);
      // A new folder often gets the inode of one that was just deleted.
      if (found !== undefined) wanted.set(folder, `${found.dev}:${found.ino}:${found.birthtimeNs}`);
    }
    this.#unwatch((folder, id) => wanted.get(folder) !== id);
    this.#isComplete = folders.length < maxWatches;
    let added = false;
    for (const [folder, id] of wanted) {
      if (this.#watchers.has(folder)) continue;
      if (!this.#watch(folder, id)) {
        this.#isComplete = false;
        break;
      }
      added = true;
    }
    return added;
  }

  #watch(folder: string, id: FolderId): boolean {
    try {
      const watcher = watch(join(this.#options.root, folder), { persistent: true }, (_event, name) => {
        this.#onEvent(folder, name);
      });
      watcher.on('error', () => {
        this.#unwatch((path) => path === folder);
        this.#onEvent(folder, null);
      });
      this.#watchers.set(folder, { id, watcher });
      return true;
    } catch {
      // No watches are left (ENOSPC, EMFILE), or the folder is gone.
      return false;
    }
  }

  #unwatch(isUnwanted: (folder: string, id: FolderId) => boolean): void {
    for (const [folder, { id, watcher }] of this.#watchers) {
      if (!isUnwanted(folder, id)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
  }
}

/** Sizes and times of the files, by which a change is noticed without reading them. */
async function stampsOf(root: string, { files }: TreeListing): Promise<string[]> {
  const stamps: string[] = [];
  for (const { path, mode } of files) {
    const { size, mtimeMs, ino } = await lstat(join(root, path));
    stamps.push(`${path}\0${mode}\0${size}\0${mtimeMs}\0${ino}`);
  }
  return stamps;
}

/** Whether a git command is changing the working tree that the folder belongs to. */
async function isRewrittenByGit(root: string): Promise<boolean> {
  for (let folder = root; ; folder = dirname(folder)) {
    const git = join(folder, '.git');
    const found = await stat(git).catch(() => undefined);
    if (found !== undefined) {
      const gitDir = found.isDirectory() ? git : await linkedGitDir(git);
      return gitDir !== undefined && (await stat(join(gitDir, 'index.lock')).catch(() => undefined)) !== undefined;
    }
    if (folder === dirname(folder)) return false;
  }
}

/** The git folder of a linked working tree, whose `.git` is a file. */
async function linkedGitDir(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch(() => '');
  const path = /^gitdir: (.+)$/m.exec(text)?.[1];
  return path === undefined ? undefined : join(dirname(file), path);
}
