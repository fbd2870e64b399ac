/** The preset `python`: any WSGI or ASGI app, Django, Streamlit and the like, or a script. */
import { type BuildStage, type Plan, type PlanCommand, type PlanRequest, type Preset } from '../plan.ts';
import { type PresetTree, at, filesIn } from '../tree.ts';
import { type PythonInstall, readInstall, tools, venv } from './install.ts';
import { readManifests, readPyproject } from './manifests.ts';
import { type PythonStart, findStart } from './start.ts';
import { systemPackages } from './system-packages.ts';
import { type PythonVersion, readPythonVersion } from './version.ts';

const ignored = [
  '**/__pycache__',
  '**/*.pyc',
  '**/.venv',
  '**/venv',
  '**/.pytest_cache',
  '**/.mypy_cache',
  '**/.ruff_cache',
  '**/.tox',
  '**/*.egg-info',
  `**/${venv}`,
  `**/${tools}`,
];

const manifestFiles = ['requirements.txt', 'pyproject.toml', 'Pipfile', 'setup.py', 'setup.cfg', 'manage.py'];
const scriptFiles = [
  'app.py',
  'main.py',
  'wsgi.py',
  'asgi.py',
  'application.py',
  'api.py',
  'server.py',
  'run.py',
  'start.py',
  'bot.py',
  'hello.py',
  'streamlit_app.py',
  'requirements/production.txt',
  'requirements/prod.txt',
  'requirements/base.txt',
  'environment.yml',
];

/** Returns the file that makes a folder a Python app: a manifest, a well-known script, or the only script. */
export async function pythonFile(tree: PresetTree): Promise<string | undefined> {
  for (const file of [...manifestFiles, ...scriptFiles]) if (await tree.has(file)) return file;
  const scripts = (await filesIn(tree, '')).filter((name) => name.endsWith('.py'));
  return scripts.length === 1 ? scripts[0] : undefined;
}

export const python: Preset = {
  async plan(tree, request): Promise<Plan> {
    const dir = request.settings.dir ?? '';
    const root = await rootOf(tree, dir);
    const manifests = await readManifests(tree, dir);
    const install = await readInstall({ tree, root, dir, manifests });
    const version = await readPythonVersion(tree, dir, manifests, request);
    const start = await findStart({ tree, dir, manifests, install, route: request.route });
    return planOf({ root, dir, install, version, start, request });
  },
};

/** The root of a uv workspace that has the folder, otherwise the folder itself. */
async function rootOf(tree: PresetTree, dir: string): Promise<string> {
  if (dir === '' || (await tree.has(at(dir, 'uv.lock')))) return dir;
  const pyproject = await readPyproject(tree, '');
  return pyproject?.tool?.uv?.workspace !== undefined && (await tree.has('uv.lock')) ? '' : dir;
}

interface Parts {
  readonly root: string;
  readonly dir: string;
  readonly install: PythonInstall;
  readonly version: PythonVersion;
  readonly start: PythonStart;
  readonly request: PlanRequest;
}

function planOf(parts: Parts): Plan {
  const { root, dir, install, version, start } = parts;
  const image = `python:${version.series}-slim`;
  const system = systemPackages(install.names, install.texts);
  const stage = buildStage(parts, image, system.build);
  const isWhole = install.project.length > 0 || start.build.length > 0;
  const folders = ['.', ...(start.roots.length > 0 ? start.roots : [])];
  return {
    preset: 'python',
    title: [start.framework, install.manager, `Python ${version.series}`].filter((one) => one !== undefined),
    reasons: [
      start.reason,
      install.from === undefined ? undefined : `${install.from}: ${install.manager ?? 'nothing to install'}`,
      version.reason,
      ...system.run.map((name) => `${name} is needed at run time`),
    ].filter((one) => one !== undefined),
    notes: [
      ...start.notes,
      ...install.unused.map((file) => `${file} is not used, since ${install.from ?? ''} is there`),
    ],
    dir,
    binaries: stage === undefined ? [] : [at(root, `${venv}/bin`)],
    build: stage,
    run: {
      image,
      systemPackages: system.run,
      env: {
        PYTHONUNBUFFERED: '1',
        PYTHONDONTWRITEBYTECODE: '1',
        PYTHONPATH: folders.join(':'),
        // gunicorn and uvicorn trust X-Forwarded-* headers from any caller, since the caller is the router.
        ...(start.isServer ? { FORWARDED_ALLOW_IPS: '*' } : {}),
        ...start.env,
      },
      hostVariables: start.isServer ? ['HOLDFAST_HOST'] : [],
      fromBuild: stage === undefined ? [] : isWhole ? [''] : [at(root, venv)],
      fromTree: isWhole ? [] : [''],
    },
    start: start.start,
    ignored,
  };
}

function buildStage(
  { root, install, version, start }: Parts,
  image: string,
  packages: readonly string[],
): BuildStage | undefined {
  const commands = install.install(start.extra);
  if (commands.length === 0 && install.project.length === 0 && start.build.length === 0) return undefined;
  const within = (list: readonly PlanCommand[]): PlanCommand[] =>
    list.map((one) => (root === '' ? one : { ...one, in: root }));
  return {
    image,
    systemPackages: packages,
    env: {
      PIP_DISABLE_PIP_VERSION_CHECK: '1',
      ...(install.manager === 'uv'
        ? {
            UV_PROJECT_ENVIRONMENT: venv,
            UV_PYTHON_DOWNLOADS: 'never',
            UV_LINK_MODE: 'copy',
            ...(version.allowed?.length !== 1 ? {} : { UV_PYTHON: version.series }),
          }
        : {}),
    },
    manifests: install.manifests,
    install: within([...makeVenv(version), ...commands]),
    build: [...within(install.project), ...start.build],
    prune: [],
    installTexts: install.texts,
  };
}

function makeVenv(version: PythonVersion): PlanCommand[] {
  return [
    { words: ['python3', '-m', 'venv', venv], only: 'image' },
    { words: ['sh', '-c', findPython(version)], title: `python${version.series} -m venv`, only: 'process' },
  ];
}

/** Looks for a Python of the machine that fits. Without a version in the tree, the usual one will do. */
function findPython({ series, allowed, reason }: PythonVersion): string {
  const make = `-m venv ${venv}`;
  if (allowed === undefined) return `python3 ${make}`;
  const minors = allowed.map((one) => `(3, ${one.split('.')[1] ?? ''})`).join(', ');
  const check = `import sys; sys.exit(sys.version_info[:2] not in (${minors},))`;
  const candidates = [
    `python${series}`,
    'python3',
    'python',
    ...allowed.slice(1).map((one) => `python${one}`),
    ...allowed.map((one) => `"$HOME"/.pyenv/versions/${one}.*/bin/python3`),
  ];
  const file = (reason.split(':')[0] ?? '').replaceAll(/[^\w./-]/g, '');
  const text = `this app needs Python ${allowed.join(' or ')} (${file}), which is not installed on this machine: install it, or set python in [app.build] to a version that is`;
  return [
    `for p in ${candidates.join(' ')}`,
    `do if command -v "$p" >/dev/null && "$p" -c '${check}' 2>/dev/null; then exec "$p" ${make}; fi; done`,
    `if command -v uv >/dev/null; then exec uv venv --seed --python ${series} ${venv}; fi`,
    `echo "${text}" >&2; exit 1`,
  ].join('; ');
}
