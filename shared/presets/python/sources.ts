/** Finds and reads the Python files of a project that may make its app. */
import { type PresetTree, at } from '../tree.ts';

export interface PythonSource {
  /** Relative to the folder of the app. */
  readonly path: string;
  /** The dotted name under which it is imported. */
  readonly module: string;
  /** The folder that has to be on PYTHONPATH for that; `''` is the folder of the app. */
  readonly root: string;
  /** Without comments and texts in triple quotes, which may show examples. */
  readonly text: string;
}

const maxFiles = 400;
const maxDepth = 4;
const skipped =
  /^(?:\.|_+pycache|(?:tests?|docs?|examples?|migrations|alembic|node_modules|site-packages|build|dist|venv|env|notebooks|scripts|static|templates|fixtures|locale|media)$)/;
const skippedFile =
  /^(?:test_.*|.*_tests?|conftest|setup|manage|noxfile|fabfile|tasks|celery|settings|gunicorn\.conf|__version__)\.py$/;
/** Files that usually have the app, the likeliest first. */
const likely = [
  'wsgi',
  'asgi',
  'app',
  'main',
  'application',
  'server',
  'api',
  'run',
  'web',
  'webapp',
  'index',
  'start',
  'streamlit_app',
  'Home',
  'bot',
  'hello',
  '__init__',
  'routes',
  '__main__',
];

/** Returns the files in the order in which they are looked at. */
export async function readSources(tree: PresetTree, dir: string): Promise<readonly PythonSource[]> {
  const paths: string[] = [];
  await collect({ tree, dir, paths }, '');
  const ordered = paths.toSorted((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1)).slice(0, maxFiles);
  const known = new Set(paths.flatMap((path) => [path, ...foldersOf(path)]));
  const sources: PythonSource[] = [];
  for (const path of ordered) {
    const text = bare((await tree.read(at(dir, path))) ?? '');
    const root = rootOf(path, text, known);
    sources.push({ path, root, module: moduleOf(path, root), text });
  }
  return sources;
}

interface Walk {
  readonly tree: PresetTree;
  readonly dir: string;
  /** What was found, relative to `dir`. */
  readonly paths: string[];
}

async function collect(walk: Walk, folder: string, depth = 0): Promise<void> {
  const { tree, dir, paths } = walk;
  const entries = await tree.list(at(dir, folder));
  // A virtual environment of any name.
  if (entries.some(({ name }) => name === 'pyvenv.cfg')) return;
  for (const { name, kind } of entries) {
    if (paths.length >= maxFiles * 4) return;
    if (kind === 'file' && name.endsWith('.py') && !skippedFile.test(name)) paths.push(at(folder, name));
    if (kind === 'folder' && depth < maxDepth && !skipped.test(name)) {
      await collect(walk, at(folder, name), depth + 1);
    }
  }
}

function rank(path: string): number {
  const parts = path.split('/');
  const name = (parts.at(-1) ?? '').replace(/\.py$/, '');
  const place = likely.indexOf(name);
  const depth = parts.length - 1 - (parts[0] === 'src' ? 1 : 0);
  return depth * 100 + (place < 0 ? likely.length : place);
}

function bare(text: string): string {
  return text.replaceAll(/("""|''')[\s\S]*?\1/g, '""').replaceAll(/^\s*#.*$/gm, '');
}

/** Returns the folders that a file is in, the nearest first. */
function foldersOf(path: string): string[] {
  const parts = path.split('/').slice(0, -1);
  return parts.map((_, index) => parts.slice(0, parts.length - index).join('/'));
}

/**
 * The folder from which a file imports what it needs: the nearest one above that has what `import helpers` names and the root has not; for a
 * package in a folder that is none (`backend/app`), that folder; `src` for what is in it; otherwise the root.
 * @param known the files, and the folders that have some.
 */
function rootOf(path: string, text: string, known: ReadonlySet<string>): string {
  const parts = path.split('/').slice(0, -1);
  const folder = parts.join('/');
  const isPackage = (place: string): boolean => known.has(`${place}/__init__.py`);
  const usual = parts[0] === 'src' && !isPackage('src') ? 'src' : '';
  if (folder === usual) return usual;
  const imported = [...text.matchAll(/^\s*(?:from|import)\s+([A-Za-z_]\w*)/gm)].map(([, name]) => name ?? '');
  const isAt = (place: string, name: string): boolean =>
    known.has(at(place, `${name}.py`)) || known.has(at(place, name));
  // From the folder of the file up to the usual root, which is left out.
  const above = foldersOf(path).filter((one) => one !== usual);
  const besides = above.find(
    (place) => !isPackage(place) && imported.some((name) => isAt(place, name) && !isAt(usual, name) && !isAt('', name)),
  );
  if (besides !== undefined) return besides;
  const namesRoot = imported.includes(parts[usual === '' ? 0 : 1] ?? '');
  return (isPackage(folder) && !namesRoot ? above.find((place) => !isPackage(place)) : undefined) ?? usual;
}

function moduleOf(path: string, root: string): string {
  const inside = root === '' ? path : path.slice(root.length + 1);
  return inside
    .replace(/\.py$/, '')
    .replace(/\/__init__$/, '')
    .replaceAll('/', '.');
}
