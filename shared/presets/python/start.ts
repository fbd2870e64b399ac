/** Decides how a Python app is started. */
import type { PlanCommand, Start } from '../plan.ts';
import { type PresetTree, at, filesIn } from '../tree.ts';
import { type FoundApp, factoryIn, findApp, objectIn } from './apps.ts';
import { findDjango } from './django.ts';
import type { PythonInstall } from './install.ts';
import type { PythonManifests } from './manifests.ts';
import { type FoundScript, refuseUnsupported, scriptIn, serveScript } from './scripts.ts';
import { type Route, type Served, isServed, serve } from './servers.ts';
import { type PythonSource, readSources } from './sources.ts';

export interface PythonStart {
  readonly start: Start;
  /** For the title of the plan: `FastAPI`; undefined for a plain script. */
  readonly framework: string | undefined;
  readonly reason: string | undefined;
  /** Packages to install beside what is required. */
  readonly extra: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Folders of modules beside the folder of the app, relative to it. */
  readonly roots: readonly string[];
  /** Whether a server is started that gets its address from variables. */
  readonly isServer: boolean;
  readonly build: readonly PlanCommand[];
  readonly notes: readonly string[];
}

interface Context {
  readonly tree: PresetTree;
  readonly dir: string;
  readonly manifests: PythonManifests;
  readonly install: PythonInstall;
  readonly route: Route | undefined;
}

/** Scripts of the root that are run if no app is found in them, the likeliest first. */
const scriptNames = [
  'app.py',
  'main.py',
  'server.py',
  'run.py',
  'start.py',
  'index.py',
  'web.py',
  'api.py',
  'application.py',
  'bot.py',
  'hello.py',
  '__main__.py',
];

/** @throws AppError dockerfile_invalid for a framework that presets do not support. */
export async function findStart(context: Context): Promise<PythonStart> {
  const { tree, dir, install } = context;
  await refuseUnsupported(tree, dir);
  const django = await findDjango(tree, dir, { ...install, route: context.route });
  if (django !== undefined) {
    const { served, folder, reason, build, notes } = django;
    const notes2 = [...notes, ...(served.notes ?? [])];
    return started(served, { framework: 'Django', reason, folder, build, notes: notes2 });
  }
  const sources = preferNamed(await readSources(tree, dir), await namedModule(context));
  const found = findIn(sources);
  if (found !== undefined) return ofFound(found, context);
  return plainScript(context, sources);
}

type Found =
  { readonly kind: 'app'; readonly app: FoundApp } | { readonly kind: 'script'; readonly script: FoundScript };

function findIn(sources: readonly PythonSource[]): Found | undefined {
  for (const source of sources) {
    const script = scriptIn(source, sources);
    if (script !== undefined) return { kind: 'script', script };
    const app =
      objectIn(source, sources) ??
      (/(^|\/)(wsgi|asgi|app|main|application|server)\.py$/.test(source.path) ? factoryIn(source) : undefined);
    if (app !== undefined && isServed(app.interface, source.text)) return { kind: 'app', app };
  }
  const app = findApp(sources);
  return app !== undefined && isServed(app.interface, app.source.text) ? { kind: 'app', app } : undefined;
}

function ofFound(found: Found, { install, route, manifests }: Context): PythonStart {
  const source = found.kind === 'app' ? found.app.source : found.script.source;
  const framework = found.kind === 'app' ? found.app.framework : found.script.framework;
  // Without any manifest the framework would not be there.
  if (install.from === undefined && manifests.pyproject === undefined && !['WSGI', 'ASGI'].includes(framework)) {
    const missing = `${source.path} uses ${framework}, and no file says what to install: add a requirements.txt with ${framework.toLowerCase()} in it`;
    return { ...nothing, start: { kind: 'none', missing }, framework };
  }
  const served = found.kind === 'app' ? serve(found.app, { ...install, route }) : serveScript(found.script, route);
  const what =
    found.kind === 'script' ? 'a script' : `the ${found.app.isFactory ? 'function' : 'object'} ${found.app.name}`;
  return started(served, {
    framework,
    reason: `${source.path}: ${framework}, ${what}`,
    folder: '',
    build: [],
    notes: served.notes ?? [],
    roots: source.root === '' ? [] : [source.root],
  });
}

const nothing: Omit<PythonStart, 'start'> = {
  framework: undefined,
  reason: undefined,
  extra: [],
  env: {},
  roots: [],
  isServer: false,
  build: [],
  notes: [],
};

function started(
  { command, title, extra, env = {} }: Served,
  rest: Pick<PythonStart, 'framework' | 'reason' | 'build' | 'notes'> & {
    readonly folder: string;
    readonly roots?: readonly string[];
  },
): PythonStart {
  const { folder, roots = [], ...known } = rest;
  // `exec`, so that SIGTERM reaches the server and not a shell in front of it.
  const text = `${folder === '' ? '' : `cd ${folder} && `}exec ${command}`;
  const start = { kind: 'command' as const, words: ['sh', '-c', text], ...(title === undefined ? {} : { title }) };
  return { ...known, start, extra, env, roots, isServer: true };
}

/** Returns the module that a file of the framework names as the app. */
async function namedModule({ tree, dir, manifests }: Context): Promise<string | undefined> {
  const fastapi = manifests.pyproject?.tool?.fastapi?.entrypoint;
  const flask = /^\s*(?:export\s+)?FLASK_APP\s*=\s*["']?([\w./]+)/m.exec(
    (await tree.read(at(dir, '.flaskenv'))) ?? '',
  )?.[1];
  return (fastapi ?? flask)?.split(':')[0]?.replace(/\.py$/, '').replaceAll('/', '.');
}

function preferNamed(sources: readonly PythonSource[], module: string | undefined): readonly PythonSource[] {
  if (module === undefined) return sources;
  return sources.toSorted((a, b) => Number(b.module === module) - Number(a.module === module));
}

/** A script that opens its port itself: in the root, a console script of the project, or a package with a __main__.py. */
async function plainScript(
  { tree, dir, manifests, install }: Context,
  sources: readonly PythonSource[],
): Promise<PythonStart> {
  const files = (await filesIn(tree, dir)).filter((name) => name.endsWith('.py') && name !== 'setup.py');
  const script = scriptNames.find((name) => files.includes(name)) ?? (files.length === 1 ? files[0] : undefined);
  if (script !== undefined) return run(['python3', script], `${script}: a script`);
  const scripts = Object.keys(manifests.pyproject?.project?.scripts ?? {}).filter((name) => /^[\w.-]+$/.test(name));
  const [name] = scripts;
  if (scripts.length === 1 && name !== undefined && install.from !== undefined)
    return run([name], `pyproject.toml: the script ${name}`);
  const main = sources.find(
    ({ path }) => path.endsWith('/__main__.py') || /^(src|app)\/(main|app|server)\.py$/.test(path),
  );
  if (main !== undefined) {
    const words = main.path.endsWith('__main__.py')
      ? ['python3', '-m', main.module.replace(/\.?__main__$/, '')]
      : ['python3', main.path];
    return { ...run(words, `${main.path}: a script`), roots: main.root === '' ? [] : [main.root] };
  }
  return { ...nothing, start: { kind: 'none', missing: missingStart(sources) } };
}

function run(words: readonly string[], reason: string): PythonStart {
  return { ...nothing, start: { kind: 'command', words }, reason };
}

function missingStart(sources: readonly PythonSource[]): string {
  const paths = sources.map(({ path }) => path);
  const looked =
    paths.length === 0
      ? 'there is no Python file'
      : `none is in ${paths.slice(0, 5).join(', ')}${paths.length > 5 ? ` and ${paths.length - 5} more files` : ''}`;
  return `no Python app is there to start. Looked for a manage.py of Django, for an app object or a function that makes one (Flask, FastAPI, Starlette, …; WSGI and ASGI), for a script of Streamlit, Gradio and the like, and for ${scriptNames.slice(0, 4).join(', ')}: ${looked}. Add one, set \`start\` in [app.build], or write a Procfile with a line \`web: …\``;
}
