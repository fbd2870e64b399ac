/** How what a project requires is installed, by the tool that wrote its lock file. */
import { type PlanCommand, command, misfit } from '../plan.ts';
import { type PresetTree, allOf, at, firstOf, foldersIn } from '../tree.ts';
import type { PythonManifests } from './manifests.ts';
import { extrasOf, nameOf } from './names.ts';
import { otherRequirementFiles, readRequirementFiles } from './requirement-files.ts';

export interface PythonInstall {
  /** For display: `uv`, `pip`; undefined if nothing is required. */
  readonly manager: string | undefined;
  /** The file that decided, for display. */
  readonly from: string | undefined;
  /** The names of what is required, locked packages included, each also with its extras: `psycopg[c]`. */
  readonly names: ReadonlySet<string>;
  /** The names that are required directly. */
  readonly direct: ReadonlySet<string>;
  /** The files that `install` reads, or the whole tree. */
  readonly manifests: readonly string[] | 'tree';
  /** Installs what is required into the venv; `extra` are further packages. */
  readonly install: (extra: readonly string[]) => readonly PlanCommand[];
  /** Installs the project itself and the packages beside it, once the tree is there. */
  readonly project: readonly PlanCommand[];
  /** The texts of manifests and configurations, which name git and build arguments. */
  readonly texts: readonly string[];
  /** Files of other tools that are there and not used. */
  readonly unused: readonly string[];
}

/** The venv of the app, relative to its folder. */
export const venv = '.holdfast-venv';
/** A venv for the tools that read lock files, so that the app's venv has only what the app requires. */
export const tools = '.holdfast-tools';

interface Context {
  readonly tree: PresetTree;
  /** The folder with the lock file: the root of a uv workspace, or the folder of the app. */
  readonly root: string;
  /** The folder of the app. */
  readonly dir: string;
  readonly manifests: PythonManifests;
}

type Reader = (context: Context, file: string) => Promise<PythonInstall>;

/** The first file that is there decides. */
const readers: readonly (readonly [file: string, read: Reader])[] = [
  ['requirements.txt', withPip],
  ['uv.lock', withUv],
  ['poetry.lock', withPoetry],
  ['pdm.lock', withPdm],
  ['Pipfile.lock', withPipenv],
  ['Pipfile', withPipenv],
  ['pyproject.toml', withPyproject],
  ['setup.py', withSetup],
  ['setup.cfg', withSetup],
  ...otherRequirementFiles.map((file) => [file, withPip] as const),
];

/** @throws AppError dockerfile_invalid, source_invalid */
export async function readInstall(context: Context): Promise<PythonInstall> {
  const { tree, root } = context;
  const there = await allOf(
    tree,
    readers.map(([file]) => at(root, file)),
  );
  const found = readers.find(([file]) => there.includes(at(root, file)));
  if (found === undefined) {
    const conda = await firstOf(tree, [
      at(root, 'environment.yml'),
      at(root, 'environment.yaml'),
      at(root, 'conda-lock.yml'),
    ]);
    if (conda !== undefined) {
      throw misfit(
        `${conda} is for conda, which presets do not have: list the packages in a requirements.txt, or give the app a Dockerfile`,
      );
    }
    return nothing;
  }
  const [file, read] = found;
  const installed = await read(context, file);
  const locks = ['uv.lock', 'poetry.lock', 'pdm.lock', 'Pipfile.lock', 'Pipfile'].map((name) => at(root, name));
  const isPipenv = installed.manager === 'pipenv';
  return { ...installed, unused: there.filter((path) => locks.includes(path) && path !== at(root, file) && !isPipenv) };
}

const nothing: PythonInstall = {
  manager: undefined,
  from: undefined,
  names: new Set(),
  direct: new Set(),
  manifests: [],
  install: (extra) => pip(...extra),
  project: [],
  texts: [],
  unused: [],
};

function pip(...words: readonly string[]): PlanCommand[] {
  return words.length === 0 ? [] : [command('pip', 'install', ...words)];
}

function setOf(
  requirements: readonly string[],
  locked: readonly string[] = [],
): Pick<PythonInstall, 'names' | 'direct'> {
  const withExtras = requirements.flatMap((one) => [
    nameOf(one),
    ...extrasOf(one).map((extra) => `${nameOf(one)}[${extra}]`),
  ]);
  return { direct: new Set(withExtras), names: new Set([...withExtras, ...locked]) };
}

async function withPip({ tree, root }: Context, file: string): Promise<PythonInstall> {
  const read = await readRequirementFiles(tree, at(root, file));
  const isEmpty = read.lines.length === 0 && !read.needsTree;
  return {
    manager: isEmpty ? undefined : 'pip',
    from: file,
    ...setOf(read.lines),
    manifests: read.needsTree ? 'tree' : read.manifests,
    install: (extra) => {
      if (isEmpty) return pip(...extra);
      // With hashes, pip accepts nothing that has none.
      return read.hasHashes ? [...pip('-r', file), ...pip(...extra)] : pip('-r', file, ...extra);
    },
    project: [],
    texts: read.lines,
    unused: [],
  };
}

/** Runs a tool of the tools' venv with the venv of the app active, whatever folder the tree is in. */
function active(text: string): PlanCommand {
  return { words: ['sh', '-c', `VIRTUAL_ENV="$PWD/${venv}" ${tools}/bin/${text}`], title: text };
}

/** @param packages as words of a shell. */
function toolInstall(name: string, ...packages: readonly string[]): PlanCommand {
  const words = [name, ...packages].map(shellWord).join(' ');
  return {
    words: ['sh', '-c', `python3 -m venv ${tools} && ${tools}/bin/pip install -q ${words}`],
    title: `install ${name}`,
  };
}

function lockedNames(text: string | undefined): string[] {
  return [...(text ?? '').matchAll(/^name = "([^"]+)"/gm)].map(([, name = '']) => nameOf(name));
}

function listed({ manifests: { pyproject } }: Context): string[] {
  const requirements = pyproject?.project?.dependencies ?? [];
  const poetry = pyproject?.tool?.poetry?.dependencies ?? {};
  const ofPoetry = Object.entries(poetry)
    .filter(([name]) => name !== 'python')
    .map(([name, value]) => `${name}${extrasText(value)}`);
  return [...requirements, ...ofPoetry];
}

function extrasText(value: unknown): string {
  if (typeof value !== 'object' || value === null || !('extras' in value) || !Array.isArray(value.extras)) return '';
  return `[${value.extras.join(',')}]`;
}

async function withUv(context: Context, file: string): Promise<PythonInstall> {
  const { tree, root, dir, manifests } = context;
  const lock = (await tree.read(at(root, file))) ?? '';
  const { pyproject } = manifests;
  const rootProject = root === dir ? pyproject : undefined;
  const isWorkspace = /^members = \[/m.test(lock);
  const name = pyproject?.project?.name;
  const chosen =
    root !== dir && name !== undefined
      ? ['--package', name]
      : root === dir && rootProject?.project === undefined
        ? ['--all-packages']
        : [];
  const sync = `uv sync --frozen --no-dev --inexact`;
  const paths = Object.values(pyproject?.tool?.uv?.sources ?? {}).some((one) => JSON.stringify(one).includes('"path"'));
  const isPackage = rootProject?.tool?.uv?.package ?? rootProject?.['build-system'] !== undefined;
  const late = isWorkspace || isPackage;
  const first = [sync, ...chosen.map(shellWord), ...(late ? ['--no-install-workspace'] : [])].join(' ');
  const whole = [sync, ...chosen.map(shellWord)].join(' ');
  return {
    manager: 'uv',
    from: file,
    ...setOf(listed(context), lockedNames(lock)),
    // With --frozen, uv reads the lock file and the manifest of the root alone.
    manifests: paths
      ? 'tree'
      : await allOf(tree, [
          at(root, 'pyproject.toml'),
          at(root, file),
          at(root, 'uv.toml'),
          ...(root === dir ? [] : [at(dir, 'pyproject.toml')]),
        ]),
    install: (extra) => [toolInstall('uv'), active(paths ? whole : first), ...pip(...extra)],
    project: late && !paths ? [active(whole)] : [],
    texts: [lock, pyproject?.text ?? ''],
    unused: [],
  };
}

function shellWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

async function withPoetry(context: Context, file: string): Promise<PythonInstall> {
  const { tree, root, manifests } = context;
  const lock = (await tree.read(at(root, file))) ?? '';
  const { pyproject } = manifests;
  if (pyproject === undefined) throw misfit(`${file} has no pyproject.toml beside it: add it`);
  const isLocal = /^type = "(directory|file)"/m.test(lock);
  return {
    manager: 'Poetry',
    from: file,
    ...setOf(listed(context), lockedNames(lock)),
    manifests: isLocal
      ? 'tree'
      : await allOf(tree, [at(root, 'pyproject.toml'), at(root, file), at(root, 'poetry.toml')]),
    install: (extra) => [
      toolInstall('poetry'),
      active('poetry install --only main --no-root --no-interaction'),
      ...pip(...extra),
    ],
    project: (await isPoetryPackage(context)) ? [active('poetry install --only-root --no-interaction')] : [],
    texts: [lock, pyproject.text],
    unused: [],
  };
}

/** Poetry installs the project as a package unless it is told not to; many projects have no folder for it and never did so. */
async function isPoetryPackage({ tree, root, manifests: { pyproject } }: Context): Promise<boolean> {
  const poetry = pyproject?.tool?.poetry;
  const name = pyproject?.project?.name ?? poetry?.name;
  if (poetry?.['package-mode'] === false || pyproject?.['build-system'] === undefined || name === undefined)
    return false;
  const module = name.replaceAll(/[-.]/g, '_').toLowerCase();
  const folders = [...(await foldersIn(tree, root)), ...(await foldersIn(tree, at(root, 'src')))];
  // The build reads the README that the manifest names.
  return poetry?.packages !== undefined || folders.includes(module);
}

async function withPdm(context: Context, file: string): Promise<PythonInstall> {
  const { tree, root, manifests } = context;
  const lock = (await tree.read(at(root, file))) ?? '';
  const isLocal = /^path = "/m.test(lock);
  return {
    manager: 'PDM',
    from: file,
    ...setOf(listed(context), lockedNames(lock)),
    manifests: isLocal ? 'tree' : await allOf(tree, [at(root, 'pyproject.toml'), at(root, file), at(root, 'pdm.toml')]),
    install: (extra) => [
      // PDM does not work with hishel 2, and allows it.
      toolInstall('pdm', 'hishel<2'),
      active('pdm sync --prod --no-self'),
      ...pip(...extra),
    ],
    project: [],
    texts: [lock, manifests.pyproject?.text ?? ''],
    unused: [],
  };
}

async function withPipenv(context: Context, file: string): Promise<PythonInstall> {
  const { tree, root, manifests } = context;
  const hasLock = file.endsWith('.lock');
  const lock = (await tree.read(at(root, 'Pipfile.lock'))) ?? '';
  const packages = Object.entries(manifests.pipfile?.packages ?? {});
  const locked = [...lock.matchAll(/^ {8}"([^"]+)": \{/gm)].map(([, name = '']) => nameOf(name));
  const isLocal = packages.some(([, value]) => JSON.stringify(value).includes('"path"'));
  return {
    manager: 'pipenv',
    from: file,
    ...setOf(
      packages.map(([name, value]) => `${name}${extrasText(value)}`),
      locked,
    ),
    manifests: isLocal ? 'tree' : await allOf(tree, [at(root, 'Pipfile'), at(root, 'Pipfile.lock')]),
    install: (extra) => [
      toolInstall('pipenv'),
      active(hasLock ? 'pipenv sync' : 'pipenv install --skip-lock'),
      ...pip(...extra),
    ],
    project: [],
    texts: [lock, (await tree.read(at(root, 'Pipfile'))) ?? ''],
    unused: [],
  };
}

async function withPyproject(context: Context, file: string): Promise<PythonInstall> {
  const { tree, manifests, root } = context;
  const { pyproject } = manifests;
  const requirements = pyproject?.project?.dependencies ?? [];
  // Each one becomes a word of pip's command line. PEP 508 starts with a name, so options and line breaks are rejected.
  const strange = requirements.find((one) => !/^[A-Za-z0-9]/.test(one) || /\p{Cc}/u.test(one));
  if (strange !== undefined) throw misfit(`${file} requires ${JSON.stringify(strange)}, which is no requirement`);
  if (pyproject?.project?.dependencies === undefined && listed(context).length > 0) {
    throw misfit(`${file} has its dependencies in tool.poetry and there is no poetry.lock: run \`poetry lock\``);
  }
  if (pyproject?.project?.dynamic?.includes('dependencies') === true) return wholeProject(file, []);
  const scripts = Object.keys(pyproject?.project?.scripts ?? {});
  const isPackage =
    pyproject?.['build-system'] !== undefined && (scripts.length > 0 || (await foldersIn(tree, root)).includes('src'));
  return {
    manager: requirements.length === 0 ? undefined : 'pip',
    from: file,
    ...setOf(requirements),
    manifests: requirements.some((one) => /@ *(file:|\.)/.test(one)) ? 'tree' : [at(root, file)],
    // The requirements are passed as words instead of building the project, since many apps are not packages.
    install: (extra) => pip(...requirements, ...extra),
    project: isPackage ? pip('--no-deps', '-e', '.') : [],
    texts: [pyproject?.text ?? ''],
    unused: [],
  };
}

async function withSetup(context: Context, file: string): Promise<PythonInstall> {
  const text = (await context.tree.read(at(context.root, file))) ?? '';
  const quoted = [...text.matchAll(/["']([A-Za-z][\w.-]*(?:\[[\w,]+\])?)\s*(?:[<>=~!][^"']*)?["']/g)].map(
    ([, name = '']) => name,
  );
  return wholeProject(file, quoted);
}

/** Only the build of the project knows what it requires. */
function wholeProject(file: string, guessed: readonly string[]): PythonInstall {
  return {
    manager: 'pip',
    from: file,
    ...setOf(guessed),
    manifests: 'tree',
    install: (extra) => pip('-e', '.', ...extra),
    project: [],
    texts: [],
    unused: [],
  };
}
