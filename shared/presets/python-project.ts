/** Reads how the dependencies of a Python project are installed, and what is started. */
import { parse } from 'smol-toml';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { misfit } from './plan.ts';
import type { PresetTree } from './tree.ts';

export interface PythonProject {
  /** What was detected, for display. */
  readonly found: string;
  /** The install commands, run with the venv first on PATH; empty if nothing is required. */
  readonly install: readonly (readonly string[])[];
  /** The files that an install reads. */
  readonly manifests: readonly string[];
  /** Whether an install reads more of the tree than the manifests. */
  readonly installNeedsTree: boolean;
  /** The file to run if there is no server; undefined if there is no such file. */
  readonly entry: string | undefined;
  readonly server: PythonServer | undefined;
  /** The folders in which modules are found, relative to the tree. */
  readonly pythonPath: readonly string[];
}

type PythonServer =
  { readonly kind: 'flask' | 'fastapi'; readonly app: string } | { readonly kind: 'streamlit'; readonly file: string };

const entryFiles = ['app.py', 'main.py', 'server.py', 'wsgi.py', 'asgi.py', 'streamlit_app.py'];
const entryFolders = ['', 'src', 'app'];
/** The server that is added for each framework, unless the app requires one itself. */
const servers = { flask: 'gunicorn', fastapi: 'uvicorn', streamlit: undefined } as const;
const maxRequirementFiles = 32;

const pyproject = z.object({
  project: z.object({ dependencies: z.array(z.string()).optional() }).optional(),
  tool: z
    .object({ poetry: z.object({ dependencies: z.record(z.string(), z.unknown()).optional() }).optional() })
    .optional(),
});

/** @throws AppError dockerfile_invalid, source_invalid */
export async function readPythonProject(tree: PresetTree): Promise<PythonProject> {
  const required = await readRequired(tree);
  const { entry, server } = await findEntry(tree, required.names);
  const program = server === undefined ? undefined : servers[server.kind];
  const extra = program === undefined || required.names.has(program) ? [] : [program];
  const folders = (await tree.list('')).filter(({ kind }) => kind === 'folder').map(({ name }) => name);
  return {
    found: [required.from, server?.kind, entry].filter((part) => part !== undefined).join(', '),
    install: required.install(extra),
    manifests: required.manifests,
    installNeedsTree: required.needsTree,
    entry,
    server,
    pythonPath: folders.includes('src') ? ['.', 'src'] : ['.'],
  };
}

interface Required {
  readonly from: string;
  /** The names of the required packages, in lower case, with `-` in place of `_` and `.`. */
  readonly names: ReadonlySet<string>;
  readonly manifests: readonly string[];
  readonly needsTree: boolean;
  readonly install: (extra: readonly string[]) => readonly (readonly string[])[];
}

const pip = (...words: readonly string[]): readonly string[] => ['pip', 'install', ...words];
const exported = '.holdfast-requirements.txt';
/** A separate venv for the tools that read lock files, so that the app's venv has only what the app requires. */
const tools = '.holdfast-tools';

async function readRequired(tree: PresetTree): Promise<Required> {
  if (await tree.has('requirements.txt')) return fromRequirements(tree);
  const source = await tree.read('pyproject.toml');
  if (source === undefined)
    return { from: 'no requirements', names: new Set(), manifests: [], needsTree: false, install: () => [] };
  const { project, tool } = parsePyproject(source);
  const poetry = Object.keys(tool?.poetry?.dependencies ?? {}).filter((name) => name !== 'python');
  const listed = project?.dependencies ?? [];
  // Each one becomes a word of pip's command line. PEP 508 starts with a name, so options and line breaks are rejected.
  const strange = listed.find((one) => !/^[A-Za-z0-9]/.test(one) || /\p{Cc}/u.test(one));
  if (strange !== undefined)
    throw misfit(`pyproject.toml requires ${JSON.stringify(strange)}, which is no requirement`);
  const names = new Set([...listed, ...poetry].map(nameOf));
  if (await tree.has('uv.lock')) {
    const requirements = [
      `${tools}/bin/uv`,
      'export',
      '--frozen',
      '--no-dev',
      '--no-emit-project',
      '--no-hashes',
      '--output-file',
    ];
    return locked('uv.lock', names, toolCommands(['uv'], [...requirements, exported]));
  }
  if (await tree.has('poetry.lock')) {
    const requirements = [`${tools}/bin/poetry`, 'export', '--without-hashes', '--output', exported];
    return locked('poetry.lock', names, toolCommands(['poetry', 'poetry-plugin-export'], requirements));
  }
  if (poetry.length > 0)
    throw misfit('pyproject.toml has its dependencies in tool.poetry and there is no poetry.lock: run `poetry lock`');
  // The requirements are passed as separate words instead of building the project, since many apps are not packages.
  return {
    from: 'pyproject.toml',
    names,
    manifests: ['pyproject.toml'],
    needsTree: listed.some((one) => /@ *(file:|\.)/.test(one)),
    install: (extra) => (listed.length + extra.length === 0 ? [] : [pip(...listed, ...extra)]),
  };
}

function toolCommands(packages: readonly string[], command: readonly string[]): readonly (readonly string[])[] {
  return [['python3', '-m', 'venv', tools], [`${tools}/bin/pip`, 'install', ...packages], command];
}

function locked(lock: string, names: ReadonlySet<string>, before: readonly (readonly string[])[]): Required {
  return {
    from: lock,
    names,
    manifests: ['pyproject.toml', lock],
    needsTree: false,
    install: (extra) => [...before, pip('-r', exported, ...extra)],
  };
}

async function fromRequirements(tree: PresetTree): Promise<Required> {
  const manifests: string[] = [];
  const names = new Set<string>();
  let needsTree = false;
  const waiting = ['requirements.txt'];
  for (
    let path = waiting.shift();
    path !== undefined && manifests.length < maxRequirementFiles;
    path = waiting.shift()
  ) {
    const source = manifests.includes(path) ? undefined : await tree.read(path);
    if (source === undefined) continue;
    manifests.push(path);
    const folder = path.slice(0, path.lastIndexOf('/') + 1);
    for (const line of source.split(/\r?\n/).map((one) => one.replace(/(^|\s)#.*$/, '').trim())) {
      const file = /^(?:-r|-c|--requirement|--constraint)[ =]*(\S+)$/.exec(line)?.[1];
      if (file !== undefined && !/^(https?:|\/)|\.\./.test(file)) waiting.push(folder + file.replace(/^\.\//, ''));
      else if (file !== undefined || /^(-e|--editable)\b|^\.{0,2}\/|^\.$|file:/.test(line)) needsTree = true;
      else if (/^[A-Za-z0-9]/.test(line)) names.add(nameOf(line));
    }
  }
  return {
    from: 'requirements.txt',
    names,
    manifests,
    needsTree,
    install: (extra) =>
      names.size === 0 && !needsTree && extra.length === 0 ? [] : [pip('-r', 'requirements.txt', ...extra)],
  };
}

function parsePyproject(source: string): z.output<typeof pyproject> {
  try {
    return pyproject.parse(parse(source));
  } catch (error) {
    throw new AppError('source_invalid', 'pyproject.toml is not valid', { phase: 'source', cause: error });
  }
}

/** Normalizes a package name as in PEP 503. */
function nameOf(requirement: string): string {
  return (/^[A-Za-z0-9._-]+/.exec(requirement)?.[0] ?? '').toLowerCase().replaceAll(/[-_.]+/g, '-');
}

async function findEntry(
  tree: PresetTree,
  names: ReadonlySet<string>,
): Promise<{ entry: string | undefined; server: PythonServer | undefined }> {
  let first: string | undefined;
  for (const folder of entryFolders) {
    for (const file of entryFiles) {
      const path = folder === '' ? file : `${folder}/${file}`;
      const source = await tree.read(path);
      if (source === undefined) continue;
      first ??= path;
      const server = serverOf(source, path, names);
      if (server !== undefined) return { entry: path, server };
    }
  }
  if (first !== undefined) return { entry: first, server: undefined };
  const files = (await tree.list('')).filter(({ name, kind }) => kind === 'file' && name.endsWith('.py'));
  return { entry: files.length === 1 ? files[0]?.name : undefined, server: undefined };
}

function serverOf(source: string, path: string, names: ReadonlySet<string>): PythonServer | undefined {
  // `src` is on PYTHONPATH, whereas `app` is a package itself.
  const module = path
    .replace(/^src\//, '')
    .replace(/\.py$/, '')
    .replaceAll('/', '.');
  if (names.has('streamlit') && /^\s*(import|from) streamlit\b/m.test(source)) return { kind: 'streamlit', file: path };
  const asgi = /^(\w+)(?:\s*:[^=\n]+)?\s*=\s*(?:[\w.]+\.)?(?:FastAPI|Starlette)\(/m.exec(source)?.[1];
  if (asgi !== undefined && (names.has('fastapi') || names.has('starlette')))
    return { kind: 'fastapi', app: `${module}:${asgi}` };
  if (!names.has('flask')) return undefined;
  const wsgi = /^(\w+)(?:\s*:[^=\n]+)?\s*=\s*(?:[\w.]+\.)?(?:Flask|create_app|make_app)\(/m.exec(source)?.[1];
  if (wsgi !== undefined) return { kind: 'flask', app: `${module}:${wsgi}` };
  const factory = /^def (create_app|make_app)\(/m.exec(source)?.[1];
  return factory === undefined ? undefined : { kind: 'flask', app: `${module}:${factory}()` };
}
