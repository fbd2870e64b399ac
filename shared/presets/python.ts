/** The preset `python`: requirements.txt or pyproject.toml, with detection of Flask, FastAPI and Streamlit. */
import { type BuildStage, type Plan, type Preset, command, defaultPort } from './plan.ts';
import { type PythonProject, readPythonProject } from './python-project.ts';

const base = 'python:3.13-slim';
const venv = '.holdfast-venv';
const ignored = [
  '**/__pycache__',
  '**/*.pyc',
  '**/.venv',
  '**/venv',
  '**/.pytest_cache',
  '**/.mypy_cache',
  '**/*.egg-info',
];

/** The files that make a folder a Python app. */
export const pythonFiles = ['requirements.txt', 'pyproject.toml', 'app.py', 'main.py'];

export const python: Preset = {
  async plan(tree): Promise<Plan> {
    const project = await readPythonProject(tree);
    const { install } = project;
    const words = startWords(project);
    return {
      preset: 'python',
      title: ['Python 3.13'],
      reasons: [project.found],
      dir: '',
      binaries: install.length > 0 ? [`${venv}/bin`] : [],
      build: install.length > 0 ? buildStage(project) : undefined,
      run: {
        image: base,
        systemPackages: [],
        env: {
          PYTHONUNBUFFERED: '1',
          PYTHONDONTWRITEBYTECODE: '1',
          PYTHONPATH: project.pythonPath.join(':'),
          // gunicorn and uvicorn trust X-Forwarded-* headers from any caller, since the caller is the router.
          ...(project.server === undefined ? {} : { FORWARDED_ALLOW_IPS: '*' }),
        },
        hostVariables: project.server === undefined ? [] : ['HOLDFAST_HOST'],
        fromBuild: install.length > 0 ? [venv] : [],
        fromTree: [''],
      },
      start:
        words === undefined
          ? { kind: 'none', missing: 'no app.py or main.py is there to start: add one, or a Dockerfile' }
          : { kind: 'command', words },
      ignored,
    };
  },
};

function buildStage({ install, installNeedsTree, manifests }: PythonProject): BuildStage {
  return {
    image: base,
    systemPackages: [],
    env: { PIP_DISABLE_PIP_VERSION_CHECK: '1' },
    manifests: installNeedsTree ? 'tree' : manifests,
    install: [command('python3', '-m', 'venv', venv), ...install.map((words) => command(...words))],
    build: [],
    prune: [],
  };
}

/** Uses `exec`, so that SIGTERM reaches the server and not a shell in front of it. */
function startWords({ server, entry }: PythonProject): readonly string[] | undefined {
  if (server === undefined) return entry === undefined ? undefined : ['python3', entry];
  return ['sh', '-c', `exec ${commandOf(server)}`];
}

function commandOf(server: NonNullable<PythonProject['server']>): string {
  const port = `\${PORT:-${defaultPort}}`;
  switch (server.kind) {
    case 'flask':
      return `gunicorn --bind $HOLDFAST_HOST:${port} --threads 8 '${server.app}'`;
    case 'fastapi':
      return `uvicorn --host $HOLDFAST_HOST --port ${port} ${server.app}`;
    case 'streamlit':
      return `streamlit run --server.address $HOLDFAST_HOST --server.port ${port} --server.headless true --browser.gatherUsageStats false ${server.file}`;
  }
}
