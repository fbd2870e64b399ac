/** Reads what package.json, the lock file and the workspaces of a folder declare. */
import { z } from 'zod';
import { AppError } from '../../errors.ts';
import { misfit } from '../plan.ts';
import type { PresetTree } from '../tree.ts';
import { type PackageManager, findManager } from './manager.ts';
import { type Scripts, startWords } from './start.ts';

const table = z.record(z.string(), z.string());
const packageJson = z.object({
  main: z.string().optional(),
  scripts: table.optional(),
  dependencies: table.optional(),
  devDependencies: table.optional(),
  optionalDependencies: table.optional(),
  packageManager: z.string().optional(),
  workspaces: z.union([z.array(z.string()), z.object({ packages: z.array(z.string()).optional() })]).optional(),
});
export type Manifest = z.output<typeof packageJson>;

export interface NodeProject {
  readonly manager: PackageManager;
  /** Whether there is anything to install. */
  readonly hasDependencies: boolean;
  /** Whether the dependencies are already installed, as in a developer's working folder. */
  readonly isInstalled: boolean;
  /** The files that determine what is installed, by folder (`''` is the root); copied first to cache their layer. */
  readonly manifests: ReadonlyMap<string, readonly string[]>;
  /** Whether an install reads more of the tree than the manifests. */
  readonly installNeedsTree: boolean;
  /** The scripts that build the app. */
  readonly build: readonly string[];
  /** Which step needs development dependencies: building (or installing), starting, or none. */
  readonly needsDevelopment: 'no' | 'build' | 'start';
  /** The subfolder of the workspace that is the app; `''` is the root. */
  readonly cwd: string;
  /** The command that starts the app; undefined if there is nothing to start, as in a site that is only built. */
  readonly start: readonly string[] | undefined;
}

const serverFiles = ['server.js', 'server.mjs', 'server.ts'];
const indexFiles = ['index.js', 'index.mjs', 'index.ts'];
const treeScripts = ['preinstall', 'install', 'postinstall', 'prepare'];
/** Folders that package managers read during an install. */
const treeFolders = ['patches', '.yarn', 'prisma'];

/** @throws AppError source_invalid if a package.json is invalid. */
export async function readNodeProject(tree: PresetTree): Promise<NodeProject> {
  const root = (await readManifest(tree, '')) ?? {};
  const manager = await findManager(tree, root.packageManager);
  const workspaces = await findWorkspaces(tree, root);
  const app = await findApp(tree, root, workspaces);
  const all = [root, ...workspaces.values()];
  const specs = all.flatMap((one) => Object.values({ ...one.dependencies, ...one.optionalDependencies }));
  const scripts = app.manifest.scripts ?? {};
  const build = ['build', 'prestart'].filter((name) => scripts[name] !== undefined);
  const folders = new Set((await tree.list('')).filter(({ kind }) => kind === 'folder').map(({ name }) => name));
  const developed = all.flatMap((one) => Object.values(one.devDependencies ?? {}));
  const hasDependencies = specs.length > 0 || (developed.length > 0 && build.length > 0) || workspaces.size > 0;
  const hasTreeScript = all.some((one) => treeScripts.some((name) => one.scripts?.[name] !== undefined));
  const startsWithDevelopment = app.start !== undefined && namesOf(app.manifest, root).has(binaryOf(app.start));
  return {
    manager,
    hasDependencies: hasDependencies || startsWithDevelopment,
    isInstalled: folders.has('node_modules'),
    manifests: await manifestsOf(tree, manager, [...workspaces.keys()]),
    installNeedsTree:
      hasTreeScript ||
      [...specs, ...developed].some((spec) => /^(file:|link:|portal:|patch:|\.{0,2}\/)/.test(spec)) ||
      treeFolders.some((name) => folders.has(name)),
    build,
    needsDevelopment: startsWithDevelopment
      ? 'start'
      : build.length > 0 || all.some((one) => one.scripts?.['prepare'] !== undefined)
        ? 'build'
        : 'no',
    cwd: app.cwd,
    start: app.start,
  };
}

interface NodeApp {
  readonly cwd: string;
  readonly manifest: Manifest;
  readonly start: readonly string[] | undefined;
}

/**
 * Returns the root or else the only workspace with a start.
 * @throws AppError dockerfile_invalid if several have one.
 */
async function findApp(tree: PresetTree, root: Manifest, workspaces: ReadonlyMap<string, Manifest>): Promise<NodeApp> {
  const own = { cwd: '', manifest: root, start: await findStart(tree, '', root) };
  if (own.start !== undefined) return own;
  const startable: NodeApp[] = [];
  for (const [cwd, manifest] of workspaces) {
    const start = manifest.scripts?.['start'] === undefined ? undefined : await findStart(tree, cwd, manifest);
    if (start !== undefined) startable.push({ cwd, manifest, start });
  }
  if (startable.length > 1) {
    const names = startable.map(({ cwd }) => cwd).join(', ');
    throw misfit(
      `several workspaces have a start script (${names}): give the root package.json one that starts the app`,
    );
  }
  return startable[0] ?? own;
}

async function findStart(tree: PresetTree, cwd: string, manifest: Manifest): Promise<readonly string[] | undefined> {
  const at = (file: string): string => (cwd === '' ? file : `${cwd}/${file}`);
  const scripts: Scripts = manifest.scripts ?? {};
  if (scripts['start'] !== undefined) return startWords(scripts, 'start');
  const main = manifest.main === undefined ? [] : [manifest.main];
  // A script beside an index.html runs in browsers.
  const index = (await tree.has(at('index.html'))) && !(await tree.has(at('package.json'))) ? [] : indexFiles;
  for (const file of [...main, ...serverFiles, ...index]) if (await tree.has(at(file))) return ['node', file];
  return undefined;
}

/** Returns the program that a start command runs, skipping wrappers and assignments. */
function binaryOf(start: readonly string[]): string {
  const words = start[0] === 'sh' ? (start[2] ?? '').split(' ') : start;
  return words.find((word) => !/^(env|exec|npx|cross-env|[A-Za-z_]\w*=.*)$/.test(word)) ?? '';
}

/** Returns the programs that development dependencies provide, as far as their names show. */
function namesOf(...manifests: readonly Manifest[]): Set<string> {
  const names = manifests.flatMap((one) => Object.keys(one.devDependencies ?? {}));
  const known: Readonly<Record<string, string>> = {
    typescript: 'tsc',
    '@nestjs/cli': 'nest',
    '@babel/node': 'babel-node',
  };
  return new Set(names.flatMap((name) => [name, known[name] ?? name]));
}

async function manifestsOf(
  tree: PresetTree,
  manager: PackageManager,
  workspaces: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const manifests = new Map<string, readonly string[]>();
  const atRoot: string[] = [];
  for (const file of ['package.json', ...manager.files]) if (await tree.has(file)) atRoot.push(file);
  manifests.set('', atRoot);
  for (const folder of workspaces) manifests.set(folder, [`${folder}/package.json`]);
  return manifests;
}

/** Returns the workspaces by folder. It resolves patterns such as `packages/*`, and leaves others to the manager. */
async function findWorkspaces(tree: PresetTree, root: Manifest): Promise<ReadonlyMap<string, Manifest>> {
  const own = Array.isArray(root.workspaces) ? root.workspaces : (root.workspaces?.packages ?? []);
  const found = new Map<string, Manifest>();
  for (const pattern of [...own, ...(await pnpmPatterns(tree))]) {
    for (const folder of await foldersOf(tree, pattern.replace(/^\.\//, '').replace(/\/$/, ''))) {
      const manifest = await readManifest(tree, folder);
      if (manifest !== undefined) found.set(folder, manifest);
    }
  }
  return new Map([...found].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

async function foldersOf(tree: PresetTree, pattern: string): Promise<string[]> {
  const star = /^([\w@.-]+(?:\/[\w@.-]+)*)\/\*{1,2}$/.exec(pattern);
  if (star?.[1] === undefined)
    return /^[\w@.-]+(\/[\w@.-]+)*$/.test(pattern) && !pattern.includes('..') ? [pattern] : [];
  const folder = star[1];
  const entries = folder.includes('..') ? [] : await tree.list(folder);
  // The names are used in instructions and in PATH.
  const isPlain = /^[\w@.-]+$/;
  return entries
    .filter(({ kind, name }) => kind === 'folder' && isPlain.test(name))
    .map(({ name }) => `${folder}/${name}`);
}

/** Reads the list `packages:` of pnpm-workspace.yaml. */
async function pnpmPatterns(tree: PresetTree): Promise<string[]> {
  const yaml = await tree.read('pnpm-workspace.yaml');
  const block = /^packages:[ \t]*\r?\n((?:[ \t]*(?:-[^\n]*|#[^\n]*)?\r?\n?)*)/m.exec(yaml ?? '')?.[1] ?? '';
  return [...block.matchAll(/^[ \t]*-[ \t]*['"]?([^'"\s#]+)['"]?/gm)].flatMap((match) => match[1] ?? []);
}

async function readManifest(tree: PresetTree, folder: string): Promise<Manifest | undefined> {
  const path = folder === '' ? 'package.json' : `${folder}/package.json`;
  const source = await tree.read(path);
  if (source === undefined) return undefined;
  try {
    return packageJson.parse(JSON.parse(source));
  } catch (error) {
    throw new AppError('source_invalid', `${path} is not valid`, { phase: 'source', cause: error });
  }
}
