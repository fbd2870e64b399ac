/** Reads requirements.txt and the files that it names. */
import type { PresetTree } from '../tree.ts';
import { nameOf } from './names.ts';

export interface RequirementFiles {
  /** The requirements, each as its line says it. */
  readonly lines: readonly string[];
  readonly names: ReadonlySet<string>;
  readonly manifests: readonly string[];
  /** Whether more of the tree is installed than the manifests: local packages, files beyond the first ones. */
  readonly needsTree: boolean;
  /** Whether pip accepts nothing without a hash. */
  readonly hasHashes: boolean;
}

const maxFiles = 32;

/** @param first the path of the first file. */
export async function readRequirementFiles(tree: PresetTree, first: string): Promise<RequirementFiles> {
  const manifests: string[] = [];
  const lines: string[] = [];
  let needsTree = false;
  let hasHashes = false;
  const waiting = [first];
  for (let path = waiting.shift(); path !== undefined && manifests.length < maxFiles; path = waiting.shift()) {
    const source = manifests.includes(path) ? undefined : await tree.read(path);
    if (source === undefined) continue;
    manifests.push(path);
    hasHashes ||= /--hash[= ]|--require-hashes/.test(source);
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    for (const line of logicalLines(source)) {
      const file = /^(?:-r|-c|--requirement|--constraint)[ =]*(\S+)$/.exec(line)?.[1];
      if (file !== undefined && !/^(https?:|\/)|\.\./.test(file)) waiting.push(folder + file.replace(/^\.\//, ''));
      else if (file !== undefined || isLocal(line)) needsTree = true;
      else if (!line.startsWith('-')) lines.push(line);
      else if (/^(-e|--editable)/.test(line)) lines.push(line.replace(/^\S+[ =]/, '').trim());
    }
  }
  const names = new Set(lines.map(nameOf).filter((name) => name !== ''));
  return { lines, names, manifests, needsTree: needsTree || waiting.length > 0, hasHashes };
}

/** Returns the lines without comments; a backslash continues a line. */
function logicalLines(source: string): string[] {
  return source
    .replaceAll(/\\\r?\n/g, ' ')
    .split(/\r?\n/)
    .map((line) => line.replace(/(^|\s)#.*$/, '').trim())
    .filter((line) => line !== '');
}

function isLocal(line: string): boolean {
  const what = line.replace(/^(-e|--editable)[ =]\s*/, '');
  return /^\.{0,2}\/|^\.(\[|$)|(^|@\s*)file:|\.(whl|tar\.gz|zip)(\s|$)/.test(what) &&
    !/^[a-z+]+:\/\/|@\s*https?:/.test(what)
    ? true
    : what !== line && !/:\/\//.test(what);
}

/** The usual places of requirements when there is no requirements.txt in the root, the first is taken. */
export const otherRequirementFiles: readonly string[] = [
  'requirements/production.txt',
  'requirements/prod.txt',
  'requirements/base.txt',
  'requirements/common.txt',
  'requirements/requirements.txt',
  'requirements-prod.txt',
  'reqs.txt',
];
