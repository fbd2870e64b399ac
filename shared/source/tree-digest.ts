/** The digest of a tree: the same files have the same one, whichever way they came. */
import { createHash } from 'node:crypto';
import type { TreeFile, TreeLink } from './tree-walk.ts';

export interface DigestedFile extends TreeFile {
  /** SHA-256 of the content, hex. */
  readonly digest: string;
}

/** Git knows no other bit of the mode, so no other one counts. */
export function isExecutable(mode: number): boolean {
  return (mode & 0o100) !== 0;
}

/** SHA-256 over kinds, executable bits, paths and contents, sorted by path, whatever order a file system lists them in. */
export function digestOf(tree: {
  readonly folders: readonly string[];
  readonly links: readonly TreeLink[];
  readonly files: readonly DigestedFile[];
}): string {
  const entries: (readonly [path: string, rest: readonly string[]])[] = [
    ...tree.folders.map((path) => [path, ['folder']] as const),
    ...tree.links.map(({ path, target }) => [path, ['link', target]] as const),
    ...tree.files.map(({ path, mode, digest }) => [path, [isExecutable(mode) ? 'program' : 'file', digest]] as const),
  ];
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  const hash = createHash('sha256');
  // JSON keeps apart what plain joining could confuse.
  for (const entry of entries) hash.update(`${JSON.stringify(entry)}\n`);
  return `sha256:${hash.digest('hex')}`;
}
