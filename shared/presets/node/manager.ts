/** Determines the package manager of a folder by its lock file, and the commands of each manager. */
import type { PresetTree } from '../tree.ts';

export interface PackageManager {
  readonly name: 'npm' | 'yarn' | 'pnpm';
  readonly lockfile: string | undefined;
  /** The files besides package.json that it reads during an install. */
  readonly files: readonly string[];
  /** Installs everything, including development dependencies. */
  readonly installAll: readonly string[];
  readonly installProduction: readonly string[];
  /** Removes development dependencies after an install; undefined if the manager cannot do that. */
  readonly prune: readonly string[] | undefined;
  /** Runs a script; append its name. */
  readonly run: readonly string[];
  /** The environment of all these commands. */
  readonly env: Readonly<Record<string, string>>;
}

/** @param declared the value of `packageManager` in package.json. */
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
  // Each release of pnpm accepts only the lock file formats of its time.
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
    // pnpm asks before it removes a node_modules, except in CI.
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
  // Before release 4, `focus` is a plugin.
  const focus = spec.startsWith('4') ? [...yarn, 'workspaces', 'focus', '--all', '--production'] : undefined;
  return {
    name: 'yarn',
    lockfile,
    files,
    installAll: install,
    installProduction: focus ?? install,
    prune: focus,
    run: [...yarn, 'run'],
    // Use the release chosen here, and install modules where node finds them without yarn's own loader.
    env: { YARN_IGNORE_PATH: '1', YARN_NODE_LINKER: 'node-modules', YARN_ENABLE_TELEMETRY: '0' },
  };
}

/** Runs a package manager through npx, since the base image may not have it. */
function through(spec: string, binary: string): readonly string[] {
  return ['npx', '--yes', '--package', spec, binary];
}
