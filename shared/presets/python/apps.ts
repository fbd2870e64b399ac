/** Finds the app object, or the function that makes it, in Python files. Nothing is run: text is matched. */
import type { PythonSource } from './sources.ts';

/** How a framework is called by a server. */
export type Interface = 'wsgi' | 'asgi' | 'aiohttp' | 'sanic' | 'tornado' | 'dash' | 'shiny' | 'mcp' | 'marimo';

export interface FoundApp {
  readonly interface: Interface;
  /** For display: `Flask`. */
  readonly framework: string;
  readonly source: PythonSource;
  /** The name of the object, or of the function that makes it. */
  readonly name: string;
  readonly isFactory: boolean;
}

interface Constructor {
  readonly call: string;
  /** What the file has to import, as a pattern. */
  readonly from: string;
  readonly interface: Interface;
  readonly framework: string;
}

const make = (framework: string, kind: Interface, from: string, ...calls: readonly string[]): Constructor[] =>
  (calls.length === 0 ? [framework] : calls).map((call) => ({ call, from, interface: kind, framework }));

const constructors: readonly Constructor[] = [
  ...make('Flask', 'wsgi', 'flask', 'Flask', 'APIFlask', 'OpenAPI'),
  ...make('Flask', 'wsgi', 'apiflask|flask_openapi3|flask_appbuilder', 'APIFlask', 'OpenAPI'),
  ...make('FastAPI', 'asgi', 'fastapi'),
  ...make('Starlette', 'asgi', 'starlette'),
  ...make('Litestar', 'asgi', 'litestar'),
  ...make('Quart', 'asgi', 'quart'),
  ...make('FastHTML', 'asgi', 'fasthtml', 'FastHTML', 'fast_app'),
  ...make('BlackSheep', 'asgi', 'blacksheep', 'Application'),
  ...make('Esmerald', 'asgi', 'esmerald|ravyn', 'Esmerald', 'Ravyn'),
  ...make('Falcon', 'asgi', 'falcon\\.asgi', 'App', 'falcon\\.asgi\\.App'),
  ...make('Falcon', 'asgi', 'falcon', 'falcon\\.asgi\\.App', 'asgi\\.App'),
  ...make('Falcon', 'wsgi', 'falcon', 'App', 'API', 'falcon\\.App', 'falcon\\.API'),
  ...make('Bottle', 'wsgi', 'bottle', 'Bottle', 'default_app', 'bottle\\.app'),
  ...make('Dash', 'dash', 'dash'),
  ...make('Sanic', 'sanic', 'sanic'),
  ...make('aiohttp', 'aiohttp', 'aiohttp', 'web\\.Application', 'Application'),
  ...make('Tornado', 'tornado', 'tornado', 'tornado\\.web\\.Application', 'web\\.Application', 'Application'),
  ...make('Shiny', 'shiny', 'shiny', 'App'),
  ...make('Connexion', 'asgi', 'connexion', 'AsyncApp', 'FlaskApp', 'App'),
  ...make('Django', 'wsgi', 'django', 'get_wsgi_application'),
  ...make('Django', 'asgi', 'django|channels', 'get_asgi_application', 'ProtocolTypeRouter'),
  ...make('Pyramid', 'wsgi', 'pyramid', '\\w+\\.make_wsgi_app'),
  ...make('CherryPy', 'wsgi', 'cherrypy', 'cherrypy\\.Application', 'cherrypy\\.tree\\.mount'),
  ...make('web.py', 'wsgi', 'web', '\\w+\\.wsgifunc'),
  ...make('Socket.IO', 'asgi', 'socketio', 'ASGIApp', 'socketio\\.ASGIApp'),
  ...make('Socket.IO', 'wsgi', 'socketio', 'WSGIApp', 'socketio\\.WSGIApp'),
  ...make('FastMCP', 'mcp', 'fastmcp|mcp\\.server\\.fastmcp', 'FastMCP'),
  ...make('marimo', 'marimo', 'marimo', 'marimo\\.App'),
];

const usualNames = ['app', 'application', 'server', 'api', 'asgi_app', 'wsgi_app', 'web_app', 'webapp', 'asgi', 'wsgi'];

/** Returns the app of the first file that has one; objects before functions that make one. */
export function findApp(sources: readonly PythonSource[]): FoundApp | undefined {
  return first(sources, objectIn) ?? first(sources, factoryIn) ?? first(sources, bareCallable);
}

function first<T>(
  sources: readonly PythonSource[],
  look: (source: PythonSource, all: readonly PythonSource[]) => T | undefined,
): T | undefined {
  for (const source of sources) {
    const found = look(source, sources);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Objects that a file makes in its outermost lines. */
export function objectIn(source: PythonSource, all: readonly PythonSource[]): FoundApp | undefined {
  const { text } = source;
  const found: FoundApp[] = [];
  for (const one of constructors) {
    if (!imports(text, one.from)) continue;
    const assigned = new RegExp(
      `^(\\w+)(?:\\s*,[\\w\\s,]+)?(?:\\s*:[^=\\n]+)?\\s*=\\s*(?:[\\w.]+\\.)?${one.call}\\(`,
      'gm',
    );
    for (const [, name = ''] of text.matchAll(assigned)) {
      found.push({ interface: one.interface, framework: one.framework, source, name, isFactory: false });
    }
  }
  const direct = preferredOf(found);
  return direct ?? calledIn(source, all) ?? importedIn(source, all);
}

function preferredOf(found: readonly FoundApp[]): FoundApp | undefined {
  // A later framework wraps an earlier one less often than the name tells.
  return usualNames.map((name) => found.find((one) => one.name === name)).find((one) => one !== undefined) ?? found[0];
}

/** `app = create_app()`, with the function in this file or imported from another. */
function calledIn(source: PythonSource, all: readonly PythonSource[]): FoundApp | undefined {
  for (const [, name = '', called = ''] of source.text.matchAll(/^(\w+)(?:\s*:[^=\n]+)?\s*=\s*(?:\w+\.)*(\w+)\(/gm)) {
    if (!usualNames.includes(name)) continue;
    const maker = [source, ...modulesImported(source, called, all)]
      .map((one) => factoryNamed(one, called))
      .find((one) => one !== undefined);
    if (maker !== undefined) return { ...maker, source, name, isFactory: false };
  }
  return undefined;
}

/** `from shop import app`, in a file that is made to be served. */
function importedIn(source: PythonSource, all: readonly PythonSource[]): FoundApp | undefined {
  if (!/(^|\/)(wsgi|asgi|app|main|application|server|run|index)\.py$/.test(source.path)) return undefined;
  for (const [, names = ''] of source.text.matchAll(/^from\s+[.\w]+\s+import\s+\(?([^\n(]+)/gm)) {
    for (const part of names.split(',')) {
      const [name = '', alias] = part.trim().split(/\s+as\s+/);
      const known = alias ?? name;
      if (!usualNames.includes(known)) continue;
      for (const other of modulesImported(source, name, all)) {
        const made =
          other === source
            ? undefined
            : objectIn(
                other,
                all.filter((one) => one !== source),
              );
        if (made?.name === name) return { ...made, source, name: known };
      }
    }
  }
  return undefined;
}

/** The files that a file imports a name from. */
function modulesImported(source: PythonSource, name: string, all: readonly PythonSource[]): PythonSource[] {
  const found: PythonSource[] = [];
  for (const [, from = '', names = ''] of source.text.matchAll(/^\s*from\s+([.\w]+)\s+import\s+\(?([^\n(]+)/gm)) {
    if (!names.split(/[\s,]+/).includes(name)) continue;
    const dots = /^\.+/.exec(from)?.[0].length ?? 0;
    const isPackage = source.path.endsWith('__init__.py');
    const parent = source.module.split('.').slice(0, isPackage ? undefined : -1);
    const base = dots === 0 ? [] : parent.slice(0, parent.length - (dots - 1));
    const module = [
      ...base,
      ...from
        .slice(dots)
        .split('.')
        .filter((part) => part !== ''),
    ].join('.');
    found.push(...all.filter((one) => one.module === module || one.module === `${module}.${name}`));
  }
  return found;
}

/** Functions that make an app and need no argument. */
export function factoryIn(source: PythonSource): FoundApp | undefined {
  const functions = [...source.text.matchAll(/^(?:async\s+)?def\s+(\w+)\s*\(/gm)].map(([, name = '']) => name);
  const ordered = functions.toSorted((a, b) => Number(b.includes('app')) - Number(a.includes('app')));
  for (const name of ordered) {
    const found = name === 'main' || name.startsWith('_') ? undefined : factoryNamed(source, name);
    if (found !== undefined) return found;
  }
  return undefined;
}

function factoryNamed(source: PythonSource, name: string): FoundApp | undefined {
  const head = new RegExp(
    `^(?:async\\s+)?def\\s+${name}\\s*\\(([^)]*)\\)[^\\n]*\\n((?:[ \\t]+[^\\n]*\\n|\\s*\\n)*)`,
    'm',
  ).exec(`${source.text}\n`);
  if (head === null) return undefined;
  const [, parameters = '', body = ''] = head;
  const isOptional = parameters.split(/,(?![^[]*\])/).every((one) => one.trim() === '' || /[=*]|^\s*\/\s*$/.test(one));
  if (!isOptional || !/\breturn\b/.test(body)) return undefined;
  const made = constructors.find(
    ({ call, from }) =>
      imports(source.text, from) && new RegExp(`(?:=|return)\\s*(?:[\\w.]+\\.)?${call}\\(`).test(body),
  );
  if (made === undefined) return undefined;
  return { interface: made.interface, framework: made.framework, source, name, isFactory: true };
}

/** Callables by the signature that PEP 3333 and ASGI name, without any framework. */
function bareCallable(source: PythonSource): FoundApp | undefined {
  const asgi = /^async def (\w+)\(\s*scope\b[^,)]*,\s*receive\b[^,)]*,\s*send\b/m.exec(source.text)?.[1];
  if (asgi !== undefined) return { interface: 'asgi', framework: 'ASGI', source, name: asgi, isFactory: false };
  const wsgi = /^def (\w+)\(\s*env(?:iron)?\b[^,)]*,\s*start_response\b/m.exec(source.text)?.[1];
  return wsgi === undefined
    ? undefined
    : { interface: 'wsgi', framework: 'WSGI', source, name: wsgi, isFactory: false };
}

/** @param pattern of the module, such as `flask|quart`. */
export function imports(text: string, pattern: string): boolean {
  return new RegExp(`^\\s*(?:from|import)\\s+(?:[\\w.]+\\s*,\\s*)*(?:${pattern})\\b`, 'm').test(text);
}
