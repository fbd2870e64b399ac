/** Which package manager a folder is kept with, by its lock file, and the commands of each. */
import type { PresetTree } from './preset.ts';

export interface PackageManager {
  readonly name: 'npm' | 'yarn' | 'pnpm';
  readonly lockfile: string | undefined;
  /** Files beside package.json that it reads while it installs. */
  readonly files: readonly string[];
  /** Everything, also what only development needs. */
  readonly installAll: readonly string[];
  readonly installProduction: readonly string[];
  /** Takes away again what only development needs; undefined where it cannot. */
  readonly prune: readonly string[] | undefined;
  /** Runs a script: follow with its name. */
  readonly run: readonly string[];
  /** For all of these. */
  readonly env: Readonly<Record<string, string>>;
}

/** @param declared `packageManager` of package.json. */
export async function findManager(tree: PresetTree, declared: string | undefined): Promise<PackageManager> {
  const [, name, version] = /^(npm|yarn|pnpm)@(\d+\.\d+\.\d+)/.exec(declared ?? '') ?? [];
  if ((await tree.has('pnpm-lock.yaml')) || name === 'pnpm') return pnpm(tree, name === 'pnpm' ? version : undefined);
  if ((await tree.has('yarn.lock')) || name === 'yarn') return yarn(tree, name === 'yarn' ? version : undefined);
  return npm(tree);
}

async function npm(tree: PresetTree): Promise<PackageManager> {
  const locks = ['npm-shrinkwrap.json', 'package-lock.json'];
  const found: string[] = [];
  for (const lock of locks) if (await tree.has(lock)) found.push(lock);
  const quiet = ['--no-audit', '--no-fund'];
  const install = ['npm', found.length > 0 ? 'ci' : 'install'];
  return {
    name: 'npm',
    lockfile: found[0],
    files: [...locks, '.npmrc'],
    installAll: [...install, ...quiet],
    installProduction: [...install, '--omit=dev', ...quiet],
    prune: ['npm', 'prune', '--omit=dev', ...quiet],
    run: ['npm', 'run'],
    env: {},
  };
}

async function pnpm(tree: PresetTree, version: string | undefined): Promise<PackageManager> {
  const lock = await tree.read('pnpm-lock.yaml');
  // Each lock file is taken by the releases of its time only.
  const format = Number(/^lockfileVersion: *'?(\d+)/m.exec(lock ?? '')?.[1] ?? 9);
  const major = format >= 9 ? '10' : format === 6 ? '8' : '7';
  const pnpm = through(`pnpm@${version ?? major}`, 'pnpm');
  const install = [...pnpm, 'install', ...(lock === undefined ? [] : ['--frozen-lockfile'])];
  const hasWorkspaces = await tree.has('pnpm-workspace.yaml');
  return {
    name: 'pnpm',
    lockfile: lock === undefined ? undefined : 'pnpm-lock.yaml',
    files: ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc', '.pnpmfile.cjs'],
    installAll: install,
    installProduction: [...install, '--prod'],
    prune: hasWorkspaces ? undefined : [...pnpm, 'prune', '--prod'],
    run: [...pnpm, 'run'],
    // It asks before it removes a node_modules, unless nobody is there to answer.
    env: { CI: 'true' },
  };
}

async function yarn(tree: PresetTree, version: string | undefined): Promise<PackageManager> {
  const lock = await tree.read('yarn.lock');
  const files = ['yarn.lock', '.yarnrc.yml', '.yarnrc', '.npmrc'];
  const isClassic = version === undefined ? !/^__metadata:/m.test(lock ?? '') : version.startsWith('1.');
  const lockfile = lock === undefined ? undefined : 'yarn.lock';
  if (isClassic) {
    const yarn = through(`yarn@${version ?? '1'}`, 'yarn');
    const install = [...yarn, 'install', '--non-interactive', ...(lock === undefined ? [] : ['--frozen-lockfile'])];
    return {
      name: 'yarn',
      lockfile,
      files,
      installAll: install,
      installProduction: [...install, '--production'],
      prune: [...install, '--production', '--ignore-scripts', '--prefer-offline'],
      run: [...yarn, 'run'],
      env: {},
    };
  }
  const format = Number(/^ {2}version: *(\d+)/m.exec(lock ?? '')?.[1] ?? 8);
  const spec = version ?? (format >= 8 ? '4' : '3');
  const yarn = through(`@yarnpkg/cli-dist@${spec}`, 'yarn');
  const install = [...yarn, 'install', '--immutable'];
  // `focus` is a plugin before release 4.
  const focus = spec.startsWith('4') ? [...yarn, 'workspaces', 'focus', '--all', '--production'] : undefined;
  return {
    name: 'yarn',
    lockfile,
    files,
    installAll: install,
    installProduction: focus ?? install,
    prune: focus,
    run: [...yarn, 'run'],
    // The release is the one asked for here, and node finds modules without yarn's own loader.
    env: { YARN_IGNORE_PATH: '1', YARN_NODE_LINKER: 'node-modules', YARN_ENABLE_TELEMETRY: '0' },
  };
}

/** By npx: the base image need not have it. */
function through(spec: string, binary: string): readonly string[] {
  return ['npx', '--yes', '--package', spec, binary];
}
