/** Frameworks whose apps are scripts that a program of the framework runs. */
import { misfit } from '../plan.ts';
import { type PresetTree, at } from '../tree.ts';
import { imports } from './apps.ts';
import { type Route, type Served, strippedNote } from './servers.ts';
import type { PythonSource } from './sources.ts';

export interface FoundScript {
  readonly framework: string;
  readonly source: PythonSource;
}

interface ScriptFramework {
  readonly name: string;
  readonly fits: (text: string) => boolean;
  readonly serve: (path: string, route: Route | undefined) => Served;
}

const host = '"$HOLDFAST_HOST"';
const port = '"$PORT"';

const frameworks: readonly ScriptFramework[] = [
  {
    name: 'Streamlit',
    fits: (text) => imports(text, 'streamlit') && /\bst\.\w+|streamlit\.\w+|from streamlit/.test(text),
    serve: (file, route) => ({
      command: `streamlit run --server.address ${host} --server.port ${port} --server.headless true --server.fileWatcherType none --browser.gatherUsageStats false ${file}`,
      extra: [],
      // Behind a router that strips the path, the page finds its server by itself.
      env: unstripped(route, (path) => ({ STREAMLIT_SERVER_BASE_URL_PATH: path.slice(1) })),
    }),
  },
  {
    name: 'Gradio',
    fits: (text) => imports(text, 'gradio') && /\.launch\(/.test(text),
    serve: (file, route) => ({
      command: `env GRADIO_SERVER_NAME=${host} GRADIO_SERVER_PORT=${port} python3 ${file}`,
      extra: [],
      env: { GRADIO_ANALYTICS_ENABLED: 'False', ...(route === undefined ? {} : { GRADIO_ROOT_PATH: route.path }) },
    }),
  },
  {
    name: 'Chainlit',
    fits: (text) => imports(text, 'chainlit'),
    serve: (file, route) => ({
      command: `chainlit run --headless --host ${host} --port ${port} ${file}`,
      extra: [],
      env: unstripped(route, (path) => ({ CHAINLIT_ROOT_PATH: path })),
      notes: strippedNote('Chainlit', route),
    }),
  },
  {
    name: 'NiceGUI',
    fits: (text) => imports(text, 'nicegui') && /\bui\.run\(/.test(text),
    serve: (file) => ({ command: `python3 -c '${niceGui(file)}'`, title: `NiceGUI with ${file}`, extra: [] }),
  },
  {
    name: 'Shiny',
    fits: (text) => imports(text, 'shiny\\.express'),
    serve: (file) => ({ command: `shiny run --host ${host} --port ${port} ${file}`, extra: [] }),
  },
  {
    name: 'Panel',
    fits: (text) => imports(text, 'panel') && /\.servable\(/.test(text),
    serve: (file, route) => ({
      command: `panel serve --address ${host} --port ${port} --allow-websocket-origin '*' --use-xheaders${route === undefined ? '' : route.stripped ? ` --root-path ${route.path}/` : ` --prefix ${route.path}`} ${file}`,
      extra: [],
    }),
  },
  {
    name: 'Bokeh',
    fits: (text) => imports(text, 'bokeh') && /\bcurdoc\(\)/.test(text),
    serve: (file, route) => ({
      command: `bokeh serve --address ${host} --port ${port} --allow-websocket-origin '*' --use-xheaders${route !== undefined && !route.stripped ? ` --prefix ${route.path}` : ''} ${file}`,
      extra: [],
    }),
  },
  {
    name: 'Mesop',
    fits: (text) => imports(text, 'mesop') && /@\w+\.page\b/.test(text),
    serve: (file) => ({
      command: `gunicorn --bind "$HOLDFAST_HOST:$PORT" --threads 8 ${file.replace(/\.py$/, '').replaceAll('/', '.')}:me`,
      extra: ['gunicorn'],
    }),
  },
  {
    name: 'Solara',
    fits: (text) => imports(text, 'solara') && /\bdef Page\b/.test(text),
    serve: (file, route) => ({
      command: `solara run --production --no-open --host ${host} --port ${port}${route === undefined ? '' : ` --root-path ${route.path}`} ${file}`,
      extra: [],
    }),
  },
];

function unstripped(route: Route | undefined, make: (path: string) => Record<string, string>): Record<string, string> {
  return route === undefined || route.stripped || route.path === '/' ? {} : make(route.path);
}

/** NiceGUI takes its address from the script alone; its default is to watch files and to start again. */
function niceGui(file: string): string {
  return [
    'import os, runpy, sys',
    'from nicegui import ui',
    'run = ui.run',
    'address = {"host": os.environ["HOLDFAST_HOST"], "port": int(os.environ["PORT"]), "reload": False, "show": False}',
    'ui.run = lambda *words, **named: run(*words, **{**named, **address})',
    `sys.argv = [${JSON.stringify(file)}]`,
    `runpy.run_path(${JSON.stringify(file)}, run_name="__main__")`,
  ].join('\n');
}

/** Returns the script if the file is one of a framework. A page or a helper that another file imports is none. */
export function scriptIn(source: PythonSource, all: readonly PythonSource[]): FoundScript | undefined {
  if (/(^|\/)pages\//.test(source.path) || !/^[\w./ -]+$/.test(source.path)) return undefined;
  // A web app with the interface mounted in it, which its own server serves.
  if (/\bmount_gradio_app\(|\bui\.run_with\(|\bmount_chainlit\(/.test(source.text)) return undefined;
  const found = frameworks.find(({ fits }) => fits(source.text));
  if (
    found === undefined ||
    all.some((other) => other !== source && imports(other.text, source.module.replaceAll('.', '\\.')))
  )
    return undefined;
  return { framework: found.name, source };
}

export function serveScript({ framework, source }: FoundScript, route: Route | undefined): Served {
  const known = frameworks.find(({ name }) => name === framework);
  if (known === undefined) throw new Error(`${framework} is not in the table`);
  const path = /^[\w./-]+$/.test(source.path) ? source.path : `'${source.path}'`;
  return known.serve(path, route);
}

/** @throws AppError dockerfile_invalid for a framework that no plan fits, with what to do. */
export async function refuseUnsupported(tree: PresetTree, dir: string): Promise<void> {
  if (await tree.has(at(dir, 'rxconfig.py'))) {
    throw misfit(
      'rxconfig.py: Reflex apps have a front end that Reflex builds with Node, and a back end on a port of its own; presets cannot do that. Give the app a Dockerfile, or deploy the output of `reflex export`',
    );
  }
}
