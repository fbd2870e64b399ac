/** Validates the names and links of archive entries. These are pure functions that never access the disk. */
import { sourceInvalid, type SourceLimits } from './limits.ts';
import type { TarHeader } from './tar-header.ts';

export type TreeEntry =
  { readonly kind: 'folder' } | { readonly kind: 'file' } | { readonly kind: 'link'; readonly target: string };

const maxNameBytes = 255;
const maxTargetBytes = 4_095;
/** The same limit as on Linux (path_resolution(7)). */
const maxLinksFollowed = 40;
/** The limit for all links together: far more than a real tree needs, and reached in about a second. */
const maxSteps = 5_000_000;

/**
 * Returns the path of an entry in its tree, '' for the tree itself, without `.` segments and trailing slashes.
 * @throws AppError source_invalid
 */
export function entryPath(header: Pick<TarHeader, 'name' | 'type'>, limits: SourceLimits): string {
  const { name, type } = header;
  if (name === '') throw sourceInvalid('', 'has an entry without a name');
  if (name.includes('\0')) throw sourceInvalid(name, 'has a name with a zero byte');
  if (name.startsWith('/')) throw sourceInvalid(name, 'is an absolute path');
  const segments = name.split('/').filter((segment) => segment !== '' && segment !== '.');
  if (segments.includes('..')) throw sourceInvalid(name, 'leads out of the folder (..)');
  // Old archivers meant a folder by this, and other readers see a file.
  if (name.endsWith('/') && type !== '5') throw sourceInvalid(name, 'is a file with the name of a folder');
  const path = segments.join('/');
  if (Buffer.byteLength(path) > limits.maxPathBytes)
    throw sourceInvalid(path, `has a path of more than ${limits.maxPathBytes} bytes`);
  if (segments.some((segment) => Buffer.byteLength(segment) > maxNameBytes))
    throw sourceInvalid(path, `has a name of more than ${maxNameBytes} bytes`);
  const depth = type === '5' ? segments.length : segments.length - 1;
  if (depth > limits.maxDepth) throw sourceInvalid(path, `is more than ${limits.maxDepth} folders deep`);
  return path;
}

/** Returns the target of a link. @throws AppError source_invalid */
export function linkTarget(path: string, { linkName }: Pick<TarHeader, 'linkName'>): string {
  if (linkName === '' || linkName.includes('\0') || Buffer.byteLength(linkName) > maxTargetBytes)
    throw sourceInvalid(path, 'is a link without a proper target');
  if (linkName.startsWith('/')) throw sourceInvalid(path, `is a link that leads out of the folder (${linkName})`);
  return linkName;
}

/**
 * Checks that no link leaves the tree.
 * @param entries the links, by path; other entries make no difference.
 * @param advice is added to the message.
 * @throws AppError source_invalid if following a link leads above the root at any step, directly or through other
 *   links, even if nothing exists there (yet).
 */
export function refuseLeavingLinks(entries: ReadonlyMap<string, TreeEntry>, advice = ''): void {
  let stepsLeft = maxSteps;
  const leaves = (link: string): boolean => {
    const at: string[] = [];
    const left = link.split('/').toReversed();
    let followed = 0;
    for (let segment = left.pop(); segment !== undefined; segment = left.pop()) {
      if ((stepsLeft -= 1) < 0) throw sourceInvalid('', 'has too many links that lead through each other');
      if (segment === '' || segment === '.') continue;
      if (segment === '..') {
        if (at.pop() === undefined) return true;
        continue;
      }
      at.push(segment);
      const entry = entries.get(at.join('/'));
      if (entry?.kind !== 'link') continue;
      // The links form a loop; the system refuses to follow it, so it leads nowhere.
      if ((followed += 1) > maxLinksFollowed) return false;
      at.pop();
      left.push(...entry.target.split('/').toReversed());
    }
    return false;
  };
  for (const [path, entry] of entries)
    if (entry.kind === 'link' && leaves(path))
      throw sourceInvalid(path, `is a link that leads out of the folder (${entry.target})${advice}`);
}
