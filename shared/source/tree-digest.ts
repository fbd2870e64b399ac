/** Computes the digest of a tree, which is the same for the same files, however they arrived. */
import { createHash } from 'node:crypto';
import type { TreeFile, TreeLink } from './tree-walk.ts';

export interface DigestedFile extends TreeFile {
  /** SHA-256 of the content in hex. */
  readonly digest: string;
}

/** Only this mode bit counts, since git stores no other. */
export function isExecutable(mode: number): boolean {
  return (mode & 0o100) !== 0;
}

/** Hashes kinds, executable bits, paths and contents, sorted by path whatever the order of the file system. */
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
  // JSON keeps the fields unambiguous; joined strings would not be.
  for (const entry of entries) hash.update(`${JSON.stringify(entry)}\n`);
  return `sha256:${hash.digest('hex')}`;
}
