/** What a listing of a folder has left out, why, and how it is told in one line. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface LeftOutEntry {
  readonly path: string;
  readonly isFolder: boolean;
  /** For people: `preset node`, `.dockerignore`; '' for what is never part of a source. */
  readonly why: string;
}

/** What was left out. A folder counts as one entry. */
export interface LeftOut {
  /** The first entries of each reason; those of `.dockerignore` are only counted. */
  readonly entries: readonly LeftOutEntry[];
  /** The number of entries by reason. */
  readonly counts: ReadonlyMap<string, number>;
}

export interface SourceSummary {
  readonly files: number;
  readonly bytes: number;
  readonly leftOut: LeftOut;
  /** The number of files in folders that were left out, by path, where they were counted. */
  readonly folderFiles?: ReadonlyMap<string, number>;
}

export const byDockerignore = '.dockerignore';
const maxEntries = 4;
const parallelReads = 32;

/** Collects what a walk leaves out. */
export class LeftOutLog implements LeftOut {
  readonly entries: LeftOutEntry[] = [];
  readonly counts = new Map<string, number>();

  add(entry: LeftOutEntry): void {
    const count = (this.counts.get(entry.why) ?? 0) + 1;
    this.counts.set(entry.why, count);
    if (count <= maxEntries && entry.why !== byDockerignore) this.entries.push(entry);
  }
}

/**
 * Counts the files in the folders that were left out.
 * @param maxFiles a bound for all of them together; a folder that exceeds it has no count.
 */
export async function countLeftOut(root: string, { entries }: LeftOut, maxFiles: number): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  let left = maxFiles;
  for (const { path, isFolder } of entries) {
    if (!isFolder) continue;
    const files = await countFiles(join(root, path), left);
    if (files === undefined) continue;
    left -= files;
    counts.set(path, files);
  }
  return counts;
}

async function countFiles(folder: string, max: number): Promise<number | undefined> {
  let files = 0;
  const folders = [folder];
  while (folders.length > 0) {
    // Many at once: what takes time is the way to the file system and back.
    const listings = await Promise.all(
      folders.splice(-parallelReads).map(async (path) => ({ path, entries: await readdir(path, { withFileTypes: true }).catch(() => []) })), // prettier-ignore
    );
    for (const { path, entries } of listings)
      for (const entry of entries) {
        if (entry.isDirectory()) folders.push(join(path, entry.name));
        else files += 1;
      }
    if (files > max) return undefined;
  }
  return files;
}

/** `214 files, 1.2 MB; left out: node_modules (61,234 files, preset node), .git, 3 by .dockerignore` */
export function summaryText({ files, bytes, leftOut, folderFiles }: SourceSummary): string {
  const told = `${number(files)} file${files === 1 ? '' : 's'}, ${size(bytes)}`;
  const parts = [...leftOut.counts].flatMap(([why, count]) => reasonText(why, count, leftOut.entries, folderFiles));
  return parts.length === 0 ? told : `${told}; left out: ${parts.join(', ')}`;
}

function reasonText(
  why: string,
  count: number,
  all: readonly LeftOutEntry[],
  folderFiles: ReadonlyMap<string, number> | undefined,
): string[] {
  if (why === byDockerignore) return [`${number(count)} by .dockerignore`];
  const entries = all.filter((entry) => entry.why === why);
  const more = count - entries.length;
  return [
    ...entries.map(({ path }) => {
      const inside = folderFiles?.get(path);
      const notes = [...(inside === undefined ? [] : [`${number(inside)} file${inside === 1 ? '' : 's'}`]), why];
      const note = notes.filter((text) => text !== '').join(', ');
      return note === '' || (why === '' && path.length > 0) ? path : `${path} (${note})`;
    }),
    ...(more > 0 ? [`${number(more)} more (${why === '' ? 'never taken' : why})`] : []),
  ];
}

function number(value: number): string {
  return value.toLocaleString('en-US');
}

function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} bytes`;
  if (bytes < 1_000_000) return `${(bytes / 1_000).toFixed(1)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}
