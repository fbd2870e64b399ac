/** What presets read of a folder. They are pure functions over it, so that the command line and the agent share them. */
export interface PresetTree {
  /** Whether the path is a regular file. */
  has(path: string): Promise<boolean>;
  /** Reads a file as text, without a byte order mark; undefined if there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** Lists a folder, sorted by name; empty if there is no such folder. `''` is the root. */
  list(folder: string): Promise<readonly PresetEntry[]>;
}

export interface PresetEntry {
  readonly name: string;
  readonly kind: 'file' | 'folder';
}

/** Joins a folder of the tree, `''` for its root, and a path in it. */
export function at(folder: string, path: string): string {
  return folder === '' ? path : path === '' ? folder : `${folder}/${path}`;
}

/** Returns the first of the files that is there. */
export async function firstOf(tree: PresetTree, paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await tree.has(path)) return path;
  return undefined;
}

/** Returns the files that are there, in the given order. */
export async function allOf(tree: PresetTree, paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) if (await tree.has(path)) found.push(path);
  return found;
}

/** Returns the names of the folders in a folder. */
export async function foldersIn(tree: PresetTree, folder: string): Promise<string[]> {
  return (await tree.list(folder)).filter(({ kind }) => kind === 'folder').map(({ name }) => name);
}

/** Returns the names of the files in a folder. */
export async function filesIn(tree: PresetTree, folder: string): Promise<string[]> {
  return (await tree.list(folder)).filter(({ kind }) => kind === 'file').map(({ name }) => name);
}
