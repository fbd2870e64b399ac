/** Finds the packages of a workspace (npm, yarn, pnpm, bun, lerna), and those that one of them needs. */
import { at, foldersIn, type PresetTree } from '../tree.ts';
import { type Manifest, allDependencies, emptyManifest, readManifest } from './manifest.ts';

/** Manifests by folder, sorted. */
export type Workspaces = ReadonlyMap<string, Manifest>;

const maxPackages = 512;
const maxDepth = 5;
/** Names are used in instructions and in PATH. */
const plainName = /^[\w@.-]+$/;

export async function findWorkspaces(tree: PresetTree, root: Manifest): Promise<Workspaces> {
  const patterns = [...(root.workspaces ?? []), ...(await pnpmPatterns(tree)), ...(await lernaPatterns(tree, root))];
  const found = new Map<string, Manifest>();
  const excluded = patterns.filter((pattern) => pattern.startsWith('!')).map((pattern) => matcher(pattern.slice(1)));
  for (const pattern of patterns.filter((one) => !one.startsWith('!'))) {
    for (const folder of await expanded(tree, '', segmentsOf(pattern))) {
      if (found.size >= maxPackages || excluded.some((one) => one.test(folder))) continue;
      const manifest = await readManifest(tree, folder);
      if (manifest !== undefined) found.set(folder, manifest);
    }
  }
  found.delete('');
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Returns the folders of the packages that the one in `folder` needs, in the order in which they are built. */
export function neededBy(workspaces: Workspaces, folder: string): string[] {
  const byName = new Map([...workspaces].map(([path, { name }]) => [name ?? path, path]));
  const order: string[] = [];
  const visiting = new Set<string>();
  const visit = (path: string): void => {
    if (visiting.has(path)) return;
    visiting.add(path);
    for (const name of Object.keys(allDependencies(workspaces.get(path) ?? emptyManifest))) {
      const needed = byName.get(name);
      if (needed !== undefined) visit(needed);
    }
    order.push(path);
  };
  visit(folder);
  return order.filter((path) => path !== folder);
}

function segmentsOf(pattern: string): string[] {
  return pattern.split('/').filter((segment) => segment !== '' && segment !== '.');
}

/** Resolves `*` and `**`, and names with a star in them. */
async function expanded(tree: PresetTree, folder: string, segments: readonly string[]): Promise<string[]> {
  const [first, ...rest] = segments;
  if (first === undefined) return [folder];
  if (first === '..' || segments.length > 16) return [];
  if (first === '**') return below(tree, folder, rest);
  if (!/[*?{[]/.test(first)) return plainName.test(first) ? expanded(tree, at(folder, first), rest) : [];
  const pattern = matcher(first);
  const found: string[] = [];
  for (const name of await packageFolders(tree, folder)) {
    if (pattern.test(name)) found.push(...(await expanded(tree, at(folder, name), rest)));
  }
  return found;
}

async function below(tree: PresetTree, folder: string, rest: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  let layer = [folder];
  for (let depth = 0; depth <= maxDepth && found.length < maxPackages; depth += 1) {
    const next: string[] = [];
    for (const path of layer) {
      found.push(...(await expanded(tree, path, rest)));
      for (const name of await packageFolders(tree, path)) next.push(at(path, name));
    }
    layer = next;
  }
  return found;
}

async function packageFolders(tree: PresetTree, folder: string): Promise<string[]> {
  const names = await foldersIn(tree, folder);
  return names.filter((name) => name !== 'node_modules' && !name.startsWith('.') && plainName.test(name));
}

function matcher(pattern: string): RegExp {
  const text = pattern.replaceAll(/[.+^$()|\\{}[\]]/g, '\\$&');
  return new RegExp(`^${text.replaceAll('**', '§').replaceAll('*', '[^/]*').replaceAll('?', '[^/]').replaceAll('§', '.*')}$`); // prettier-ignore
}

/** Reads the list `packages:` of pnpm-workspace.yaml, in block or flow style. */
async function pnpmPatterns(tree: PresetTree): Promise<string[]> {
  const yaml = (await tree.read('pnpm-workspace.yaml')) ?? '';
  const flow = /^packages:[ \t]*\[([^\]]*)\]/m.exec(yaml)?.[1];
  if (flow !== undefined) return [...flow.matchAll(/['"]?([^'",\s]+)['"]?/g)].flatMap((match) => match[1] ?? []);
  const block = /^packages:[ \t]*(?:#[^\n]*)?\r?\n((?:[ \t]*(?:-[^\n]*|#[^\n]*)?\r?\n?)*)/m.exec(yaml)?.[1] ?? '';
  return [...block.matchAll(/^[ \t]*-[ \t]*['"]?([^'"\s#]+)['"]?/gm)].flatMap((match) => match[1] ?? []);
}

async function lernaPatterns(tree: PresetTree, root: Manifest): Promise<string[]> {
  if (root.workspaces !== undefined) return [];
  const list = /"packages"\s*:\s*\[([^\]]*)\]/.exec((await tree.read('lerna.json')) ?? '')?.[1] ?? '';
  return [...list.matchAll(/"([^"]+)"/g)].flatMap((match) => match[1] ?? []);
}
