/** Determines the package manager of a folder, and the commands of each. */
import { misfit } from '../plan.ts';
import { allOf, type PresetTree } from '../tree.ts';
import { type Manifest, majorOf } from './manifest.ts';

type ManagerName = 'npm' | 'yarn' | 'pnpm' | 'bun';

export interface PackageManager {
  readonly name: ManagerName;
  /** For display: `pnpm 10`. */
  readonly title: string;
  /** Why: `pnpm-lock.yaml: pnpm 10`. */
  readonly reason: string;
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

const locks: Readonly<Record<string, ManagerName>> = {
  'bun.lock': 'bun',
  'bun.lockb': 'bun',
  'pnpm-lock.yaml': 'pnpm',
  'yarn.lock': 'yarn',
  'npm-shrinkwrap.json': 'npm',
  'package-lock.json': 'npm',
};

/**
 * @param isInstallGiven the app has an install command of its own, so that two lock files are not in question.
 * @throws AppError dockerfile_invalid if there are lock files of two managers and nothing says which one counts.
 */
export async function findManager(
  tree: PresetTree,
  manifest: Manifest,
  isInstallGiven: boolean,
): Promise<PackageManager> {
  const found = await allOf(tree, Object.keys(locks));
  const names = [...new Set(found.map((lock) => locks[lock] ?? 'npm'))];
  const declared = declaredManager(manifest);
  if (names.length > 1 && declared === undefined && !isInstallGiven) {
    throw misfit(
      `there are lock files of several package managers (${found.join(', ')}): delete those that are not used, or name the manager in packageManager of package.json`,
    );
  }
  const name = declared?.name ?? names[0] ?? (await guessed(tree));
  const version = declared?.name === name ? declared.version : undefined;
  switch (name) {
    case 'bun':
      return bun(tree, version);
    case 'pnpm':
      return pnpm(tree, manifest, version);
    case 'yarn':
      return yarn(tree, version);
    case 'npm':
      return npm(tree);
  }
}

async function guessed(tree: PresetTree): Promise<ManagerName> {
  if (await tree.has('pnpm-workspace.yaml')) return 'pnpm';
  if (await tree.has('.yarnrc.yml')) return 'yarn';
  return (await tree.has('bunfig.toml')) ? 'bun' : 'npm';
}

function declaredManager(manifest: Manifest): { name: ManagerName; version: string | undefined } | undefined {
  const [, own, release] = /^(npm|yarn|pnpm|bun)@(\d+\.\d+\.\d+)/.exec(manifest.packageManager ?? '') ?? [];
  const engine = manifest.devEngines?.packageManager;
  const name = [own, engine?.name].find((one) => one !== undefined);
  if (name !== 'npm' && name !== 'yarn' && name !== 'pnpm' && name !== 'bun') return undefined;
  const exact = /^\d+\.\d+\.\d+$/.exec(engine?.version ?? '')?.[0];
  return { name, version: own === undefined ? exact : release };
}

async function npm(tree: PresetTree): Promise<PackageManager> {
  const [lockfile] = await allOf(tree, ['npm-shrinkwrap.json', 'package-lock.json']);
  const quiet = ['--no-audit', '--no-fund'];
  const install = ['npm', lockfile === undefined ? 'install' : 'ci'];
  return {
    name: 'npm',
    title: 'npm',
    reason: lockfile === undefined ? 'no lock file: npm' : `${lockfile}: npm`,
    lockfile,
    files: ['npm-shrinkwrap.json', 'package-lock.json', '.npmrc'],
    installAll: [...install, ...quiet],
    installProduction: [...install, '--omit=dev', ...quiet],
    prune: ['npm', 'prune', '--omit=dev', ...quiet],
    run: ['npm', 'run'],
    env: {},
  };
}

async function pnpm(tree: PresetTree, manifest: Manifest, version: string | undefined): Promise<PackageManager> {
  const lock = await tree.read('pnpm-lock.yaml');
  const workspace = (await tree.read('pnpm-workspace.yaml')) ?? '';
  // Each release of pnpm accepts only the lock file formats of its time.
  const format = Number(/^lockfileVersion: *'?(\d+)/m.exec(lock ?? '')?.[1] ?? 9);
  const engine = majorOf(manifest.engines['pnpm']);
  const ofLock = format >= 9 ? '10' : format === 6 ? '8' : '7';
  const release = version ?? (format >= 9 && engine === '9' ? engine : ofLock);
  const pnpm = through(`pnpm@${release}`, 'pnpm');
  const install = [...pnpm, 'install', ...(lock === undefined ? [] : ['--frozen-lockfile'])];
  const saysBuilds =
    /^\s*(onlyBuiltDependencies|neverBuiltDependencies|ignoredBuiltDependencies|allowBuilds|dangerouslyAllowAllBuilds)/m;
  const limitsBuilds = saysBuilds.test(workspace) || /BuiltDependencies/.test(Object.keys(manifest.pnpm ?? {}).join());
  const title = `pnpm ${release.split('.')[0]}`;
  return {
    name: 'pnpm',
    title,
    reason: lock === undefined ? title : `pnpm-lock.yaml: ${title}`,
    lockfile: lock === undefined ? undefined : 'pnpm-lock.yaml',
    files: ['pnpm-lock.yaml', 'pnpm-workspace.yaml', '.npmrc', '.pnpmfile.cjs'],
    installAll: install,
    installProduction: [...install, '--prod'],
    prune: /^packages:/m.test(workspace) ? undefined : [...pnpm, 'prune', '--prod', '--ignore-scripts'],
    run: [...pnpm, 'run'],
    env: {
      // pnpm asks before it removes a node_modules, except in CI.
      CI: 'true',
      // From release 10 on, pnpm runs the install scripts of native modules only if the project lists them. Locks of pnpm 9 have the same format and no list.
      ...(limitsBuilds || !release.startsWith('10') ? {} : { npm_config_dangerously_allow_all_builds: 'true' }),
    },
  };
}

async function yarn(tree: PresetTree, version: string | undefined): Promise<PackageManager> {
  const lock = await tree.read('yarn.lock');
  const files = ['yarn.lock', '.yarnrc.yml', '.yarnrc', '.npmrc'];
  const isModern = /^__metadata:/m.test(lock ?? '') || (lock === undefined && (await tree.has('.yarnrc.yml')));
  const isClassic = version === undefined ? !isModern : version.startsWith('1.');
  const lockfile = lock === undefined ? undefined : 'yarn.lock';
  const format = Number(/^ {2}version: *(\d+)/m.exec(lock ?? '')?.[1] ?? 8);
  const release = version ?? (isClassic ? '1' : format >= 8 ? '4' : '3');
  const title = `Yarn ${release.split('.')[0]}`;
  const common = { name: 'yarn' as const, title, reason: lock === undefined ? title : `yarn.lock: ${title}`, lockfile, files }; // prettier-ignore
  if (isClassic) {
    const yarn = through(`yarn@${release}`, 'yarn');
    const install = [...yarn, 'install', '--non-interactive', ...(lock === undefined ? [] : ['--frozen-lockfile'])];
    return {
      ...common,
      installAll: install,
      installProduction: [...install, '--production'],
      prune: [...install, '--production', '--ignore-scripts', '--prefer-offline'],
      run: [...yarn, 'run'],
      env: {},
    };
  }
  const yarn = through(`@yarnpkg/cli-dist@${release}`, 'yarn');
  const install = [...yarn, 'install', ...(lock === undefined ? [] : ['--immutable'])];
  // Before release 4, `focus` is a plugin.
  const focus = release.startsWith('4') ? [...yarn, 'workspaces', 'focus', '--all', '--production'] : undefined;
  return {
    ...common,
    installAll: install,
    installProduction: focus ?? install,
    prune: focus,
    run: [...yarn, 'run'],
    // Use the release chosen here, and install modules where node finds them without yarn's own loader.
    env: { YARN_IGNORE_PATH: '1', YARN_NODE_LINKER: 'node-modules', YARN_ENABLE_TELEMETRY: '0' },
  };
}

async function bun(tree: PresetTree, version: string | undefined): Promise<PackageManager> {
  const [lockfile] = await allOf(tree, ['bun.lock', 'bun.lockb']);
  const bun = through(`bun@${version ?? '1'}`, 'bun');
  const install = [...bun, 'install', ...(lockfile === undefined ? [] : ['--frozen-lockfile'])];
  return {
    name: 'bun',
    title: 'Bun',
    reason: lockfile === undefined ? 'Bun' : `${lockfile}: Bun`,
    lockfile,
    files: ['bun.lock', 'bun.lockb', 'bunfig.toml', '.npmrc'],
    installAll: install,
    installProduction: [...install, '--production'],
    prune: undefined,
    run: [...bun, 'run'],
    env: {},
  };
}

/** Runs a package manager through npx, since the base image may not have it. */
function through(spec: string, binary: string): readonly string[] {
  return ['npx', '--yes', '--package', spec, binary];
}
