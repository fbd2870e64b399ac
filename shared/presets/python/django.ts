/** Finds how a Django project is served: by its manage.py and settings. */
import { type PlanCommand, command } from '../plan.ts';
import { type PresetTree, at, foldersIn } from '../tree.ts';
import { type ServerContext, type Served, asgi, wsgi } from './servers.ts';

export interface DjangoApp {
  readonly served: Served;
  /** The folder of manage.py, relative to the folder of the app. */
  readonly folder: string;
  readonly reason: string;
  /** Collects static files if the settings say where to. */
  readonly build: readonly PlanCommand[];
  readonly notes: readonly string[];
}

/** @param dir the folder of the app. */
export async function findDjango(
  tree: PresetTree,
  dir: string,
  context: ServerContext,
): Promise<DjangoApp | undefined> {
  for (const folder of ['', ...(await foldersIn(tree, dir)).filter((name) => /^[\w-]+$/.test(name))]) {
    const manage = await tree.read(at(dir, at(folder, 'manage.py')));
    const settings = /DJANGO_SETTINGS_MODULE["']\s*,\s*["']([\w.]+)["']/.exec(manage ?? '')?.[1];
    if (settings !== undefined) return djangoApp(tree, { dir, folder, settings, context });
  }
  return undefined;
}

interface Project {
  readonly dir: string;
  readonly folder: string;
  /** The module of the settings, as manage.py names it. */
  readonly settings: string;
  readonly context: ServerContext;
}

async function djangoApp(tree: PresetTree, { dir, folder, settings, context }: Project): Promise<DjangoApp> {
  const inside = at(dir, folder);
  const text = await settingsText(tree, inside, settings);
  const named = (key: string): string | undefined =>
    new RegExp(`^${key}\\s*=\\s*["']([\\w.]+)\\.(\\w+)["']`, 'm').exec(text)?.slice(1).join(':');
  const project = settings.split('.')[0] ?? '';
  const has = (file: string): Promise<boolean> => tree.has(at(inside, `${project}/${file}`));
  const asgiApp = named('ASGI_APPLICATION') ?? ((await has('asgi.py')) ? `${project}.asgi:application` : undefined);
  const wsgiApp = named('WSGI_APPLICATION') ?? ((await has('wsgi.py')) ? `${project}.wsgi:application` : undefined);
  const { direct } = context;
  const wantsAsgi =
    direct.has('daphne') ||
    direct.has('channels') ||
    (['uvicorn', 'hypercorn', 'granian'].some((name) => direct.has(name)) && !direct.has('gunicorn'));
  const isAsgi = asgiApp !== undefined && (wantsAsgi || wsgiApp === undefined);
  const served = isAsgi
    ? asgi(asgiApp, false, context)
    : wsgi(wsgiApp ?? `'django.core.wsgi:get_wsgi_application()'`, false, context);
  const collects = /\bSTATIC_ROOT\s*=/.test(text);
  return {
    served: wsgiApp === undefined && !isAsgi ? { ...served, env: { DJANGO_SETTINGS_MODULE: settings } } : served,
    folder,
    reason: `${at(folder, 'manage.py')}: Django with ${settings}, served by ${isAsgi ? `ASGI (${asgiApp})` : `WSGI (${wsgiApp ?? 'the settings name none'})`}`,
    build: collects ? [collectStatic(inside)] : [],
    notes: [
      'Migrations are not run: run `manage.py migrate` yourself, or put it into `start`',
      ...(collects
        ? []
        : [
            'The settings name no STATIC_ROOT, so static files are not collected: Django serves none without DEBUG; add WhiteNoise and STATIC_ROOT',
          ]),
    ],
  };
}

/** Settings often read secrets that a build does not have, so a failure is told and does not end the build. */
function collectStatic(folder: string): PlanCommand {
  const text =
    'SECRET_KEY="${SECRET_KEY:-build}" DJANGO_SECRET_KEY="${DJANGO_SECRET_KEY:-build}" python manage.py collectstatic --noinput || echo "collectstatic failed: pages may lack their styles; build arguments can give the settings what they read, and build = \\"\\" in [app.build] leaves this step out"';
  return { ...command('sh', '-c', text), title: 'collectstatic', ...(folder === '' ? {} : { in: folder }) };
}

/** Returns the text of the settings; of a package of settings, that of all its files. */
async function settingsText(tree: PresetTree, folder: string, module: string): Promise<string> {
  const path = at(folder, module.replaceAll('.', '/'));
  const single = await tree.read(`${path}.py`);
  const parent = path.slice(0, path.lastIndexOf('/'));
  const isPackage = module.split('.').length > 2 || single === undefined;
  const list = isPackage
    ? (await tree.list(single === undefined ? path : parent)).filter(({ name }) => name.endsWith('.py'))
    : [];
  const others = await Promise.all(list.map(({ name }) => tree.read(at(single === undefined ? path : parent, name))));
  return [single ?? '', ...others.map((text) => text ?? '')].join('\n');
}
