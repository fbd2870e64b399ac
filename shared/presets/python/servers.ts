/** The commands of servers for Python apps. `$HOLDFAST_HOST` and `$PORT` are what the app has to listen on. */
import type { PlanRequest } from '../plan.ts';
import type { FoundApp, Interface } from './apps.ts';

export interface Served {
  /** Text for a shell. */
  readonly command: string;
  /** Shown instead of the command. */
  readonly title?: string;
  /** Packages that the server needs beside what the app requires. */
  readonly extra: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly notes?: readonly string[];
}

export type Route = NonNullable<PlanRequest['route']>;

export interface ServerContext {
  /** The names of what the app requires directly, and of all that is installed. */
  readonly direct: ReadonlySet<string>;
  readonly names: ReadonlySet<string>;
  /** Where the app is below a path; undefined at the root of a host. */
  readonly route: Route | undefined;
}

const host = '"$HOLDFAST_HOST"';
const port = '"$PORT"';
const address = '"$HOLDFAST_HOST:$PORT"';
/** Only a name of letters, digits and _ becomes part of a command, so that nothing has to be quoted. */
const plainName = /^[\w.]+$/;

export function serve(app: FoundApp, context: ServerContext): Served {
  switch (app.interface) {
    case 'wsgi':
      return wsgi(target(app), app.isFactory, context);
    case 'asgi':
      return asgi(target(app), app.isFactory, context);
    case 'dash':
      return dash(app, context);
    case 'aiohttp': {
      // The worker calls an asynchronous function itself; gunicorn calls any other.
      const isAsync = new RegExp(`^async\\s+def\\s+${app.name}\\b`, 'm').test(app.source.text);
      const called = app.isFactory && !isAsync ? `'${target(app)}()'` : target(app);
      return {
        command: `gunicorn --bind ${address} --worker-class aiohttp.GunicornWebWorker ${called}`,
        extra: missing(context, 'gunicorn'),
      };
    }
    case 'sanic':
      return {
        command: `sanic ${target(app)} --host ${host} --port ${port}${app.isFactory ? ' --factory' : ''}`,
        extra: [],
      };
    case 'tornado':
      return { command: `python3 -c '${tornado(app)}'`, title: `Tornado with ${target(app)}`, extra: [] };
    case 'shiny':
      return { command: `shiny run --host ${host} --port ${port} ${target(app)}`, extra: [] };
    case 'marimo':
      return marimo(app, context);
    case 'mcp':
      return mcp(app, context);
  }
}

/** Whether a server is known for what a file makes, so that its own way to start is not used. */
export function isServed(kind: Interface, text: string): boolean {
  // Tornado has no server command. A script that reads PORT does what is needed.
  return kind !== 'tornado' || !/["']PORT["']/.test(text);
}

function target({ source, name }: FoundApp): string {
  const text = `${source.module}:${name}`;
  return plainName.test(text.replace(':', '')) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function missing({ names }: ServerContext, ...packages: readonly string[]): string[] {
  return packages.filter((name) => !names.has(name));
}

export function wsgi(app: string, isFactory: boolean, context: ServerContext): Served {
  const { direct, route } = context;
  const below = route?.stripped === true ? route.path : undefined;
  const called = isFactory ? `'${app.replaceAll("'", '')}()'` : app;
  if (direct.has('gunicorn')) {
    return {
      command: gunicorn(called, context),
      extra: [],
      notes: below === undefined ? [] : [belowNote('gunicorn', below)],
    };
  }
  if (direct.has('uwsgi')) {
    return {
      command: `uwsgi --http-socket ${address} --master --die-on-term --need-app --threads 8 --module ${called}`,
      extra: [],
      notes: below === undefined ? [] : [belowNote('uWSGI', below)],
    };
  }
  if (direct.has('hypercorn') && !direct.has('waitress')) {
    const root = below === undefined ? '' : ` --root-path ${below}`;
    return {
      command: `hypercorn --bind ${address}${root} ${isFactory ? `'wsgi:${app}()'` : `wsgi:${app}`}`,
      extra: [],
    };
  }
  // waitress alone takes the path that the router strips as an option.
  if (direct.has('waitress') || below !== undefined) {
    const prefix = below === undefined ? '' : ` --url-prefix=${below}`;
    return {
      command: `waitress-serve --listen=${address} --threads=8${prefix}${isFactory ? ' --call' : ''} ${app}`,
      extra: missing(context, 'waitress'),
    };
  }
  return { command: gunicorn(called, context), extra: missing(context, 'gunicorn') };
}

function gunicorn(app: string, { route }: ServerContext): string {
  const name = route !== undefined && !route.stripped && route.path !== '/' ? ` --env SCRIPT_NAME=${route.path}` : '';
  return `gunicorn --bind ${address} --threads 8${name} ${app}`;
}

function belowNote(server: string, path: string): string {
  return `${server} does not know that the app is below ${path}: links that the app makes lack it, unless the app uses X-Forwarded-Prefix (ProxyFix with x_prefix=1 in Flask). A host of its own needs nothing of this`;
}

export function asgi(app: string, isFactory: boolean, context: ServerContext): Served {
  const { direct, route } = context;
  const root = route?.stripped === true ? route.path : undefined;
  const rootPath = root === undefined ? '' : ` --root-path ${root}`;
  const called = isFactory ? `'${app.replaceAll("'", '')}()'` : app;
  const isUvicorn = direct.has('uvicorn') || direct.has('fastapi[standard]');
  if (!isUvicorn && direct.has('hypercorn'))
    return { command: `hypercorn --bind ${address}${rootPath} ${called}`, extra: [] };
  if (!isUvicorn && direct.has('granian')) {
    const prefix = root === undefined ? '' : ` --url-path-prefix ${root}`;
    return {
      command: `granian --interface asgi --host ${host} --port ${port}${prefix}${isFactory ? ' --factory' : ''} ${app}`,
      extra: [],
    };
  }
  if (!isUvicorn && direct.has('daphne') && !isFactory) {
    return { command: `daphne --bind ${host} --port ${port} --proxy-headers${rootPath} ${app}`, extra: [] };
  }
  return {
    command: `uvicorn --host ${host} --port ${port}${rootPath}${isFactory ? ' --factory' : ''} ${app}`,
    // websockets: without it, uvicorn refuses WebSockets.
    extra: missing(context, 'uvicorn', ...(isUvicorn ? [] : ['websockets'])),
  };
}

function dash(app: FoundApp, context: ServerContext): Served {
  const { source, name, isFactory } = app;
  const server = new RegExp(`^(\\w+)\\s*=\\s*${name}\\.server\\b`, 'm').exec(source.text)?.[1];
  const env = dashPaths(context.route);
  if (isFactory || server === undefined) {
    // The Flask app in it, by the dotted name that waitress understands.
    const dotted = isFactory ? target(app) : `${target(app)}.server`;
    return {
      command: `waitress-serve --listen=${address} --threads=8${isFactory ? ' --call' : ''} ${dotted}`,
      extra: missing(context, 'waitress'),
      env,
    };
  }
  const served = wsgi(target({ ...app, name: server }), false, { ...context, route: undefined });
  return { ...served, env };
}

function dashPaths(route: Route | undefined): Record<string, string> {
  if (route === undefined || route.path === '/') return {};
  const path = `${route.path}/`;
  return route.stripped
    ? { DASH_REQUESTS_PATHNAME_PREFIX: path, DASH_ROUTES_PATHNAME_PREFIX: '/' }
    : { DASH_URL_BASE_PATHNAME: path };
}

function marimo({ source }: FoundApp, { route }: ServerContext): Served {
  const base = route !== undefined && !route.stripped ? ` --base-url ${route.path}` : '';
  return {
    command: `marimo run --headless --no-token --host ${host} --port ${port}${base} ${source.path}`,
    extra: [],
    notes: strippedNote('marimo', route),
  };
}

/** For frameworks that want to see the whole path of a request. */
export function strippedNote(framework: string, route: Route | undefined): string[] {
  if (route?.stripped !== true) return [];
  return [
    `${framework} wants to see the path ${route.path} in requests: set \`strip_path = false\`, or give the app a host of its own`,
  ];
}

function mcp(app: FoundApp, context: ServerContext): Served {
  if (context.names.has('fastmcp')) {
    return {
      command: `fastmcp run ${app.source.path}:${app.name} --transport http --host ${host} --port ${port}`,
      extra: [],
    };
  }
  return {
    command: `uvicorn --host ${host} --port ${port} --factory ${target(app)}${app.isFactory ? '' : '.streamable_http_app'}`,
    extra: missing(context, 'uvicorn'),
  };
}

/** A line of Python per step; the text has no single quote, since it becomes a word in them. */
function tornado({ source, name, isFactory }: FoundApp): string {
  return [
    'import asyncio, os',
    `from ${source.module} import ${name} as app`,
    'async def main():',
    `    ${isFactory ? 'app()' : 'app'}.listen(int(os.environ["PORT"]), os.environ["HOLDFAST_HOST"], xheaders=True)`,
    '    await asyncio.Event().wait()',
    'asyncio.run(main())',
  ].join('\n');
}
