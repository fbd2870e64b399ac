/** The preset `python`: requirements.txt or pyproject.toml, with detection of Flask, FastAPI and Streamlit. */
import { copy, exec, generatedBy, ignoreFile, run, text } from './dockerfile.ts';
import { type Preset, appUser, defaultPort } from './preset.ts';
import { type PythonProject, noEntry, readPythonProject } from './python-project.ts';

const base = 'python:3.13-slim';
const ignored = [
  '**/__pycache__',
  '**/*.pyc',
  '**/.venv',
  '**/venv',
  '**/.pytest_cache',
  '**/.mypy_cache',
  '**/*.egg-info',
];

export const python: Preset = {
  async files(tree, needed) {
    const project = await readPythonProject(tree);
    const start = startWords(project, '0.0.0.0');
    if (start === undefined && needed === 'required') throw noEntry();
    return {
      dockerfile: dockerfile(project),
      files: await ignoreFile(tree, ignored),
      found: [project.found, ...(start === undefined ? [] : [`starts ${start.join(' ')}`])],
    };
  },

  async command(tree) {
    const project = await readPythonProject(tree);
    const venv = '.holdfast-venv';
    const hasVenv = project.install.length > 0;
    return {
      install: hasVenv ? [['python3', '-m', 'venv', venv], ...project.install.map((words) => [...words])] : [],
      // Listen on loopback only, so that all calls arrive through the router.
      run: startWords(project, '127.0.0.1'),
      cwd: '',
      binaries: hasVenv ? [`${venv}/bin`] : [],
      env: { ...environment(project), PYTHONPATH: project.pythonPath.join(':') },
    };
  },
};

function environment(project: PythonProject): Record<string, string> {
  return {
    PYTHONUNBUFFERED: '1',
    // gunicorn and uvicorn trust X-Forwarded-* headers from any caller, since the caller is the router.
    ...(project.server === undefined ? {} : { FORWARDED_ALLOW_IPS: '*' }),
  };
}

/** Uses `exec`, so that SIGTERM reaches the server and not a shell in front of it. */
function startWords({ server, entry }: PythonProject, host: string): readonly string[] | undefined {
  if (server === undefined) return entry === undefined ? undefined : ['python3', entry];
  return ['sh', '-c', `exec ${commandOf(server, host)}`];
}

function commandOf(server: NonNullable<PythonProject['server']>, host: string): string {
  const at = `${host}:\${PORT:-${defaultPort}}`;
  switch (server.kind) {
    case 'flask':
      return `gunicorn --bind ${at} --threads 8 '${server.app}'`;
    case 'fastapi':
      return `uvicorn --host ${host} --port \${PORT:-${defaultPort}} ${server.app}`;
    case 'streamlit':
      return `streamlit run --server.address ${host} --server.port \${PORT:-${defaultPort}} --server.headless true --browser.gatherUsageStats false ${server.file}`;
  }
}

function dockerfile(project: PythonProject): string {
  const start = startWords(project, '0.0.0.0');
  const { install, manifests, installNeedsTree, pythonPath } = project;
  const hasStage = install.length > 0;
  const stage = [
    `FROM ${base} AS dependencies`,
    'ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1',
    'RUN python3 -m venv /venv',
    'ENV PATH=/venv/bin:$PATH',
    'WORKDIR /app',
    installNeedsTree ? 'COPY . ./' : undefined,
    ...(installNeedsTree ? [] : manifestCopies(manifests)),
    ...install.map((words) => run(words)),
    '',
  ];
  const variables = Object.entries({ ...environment(project), PYTHONDONTWRITEBYTECODE: '1', HOME: '/tmp' });
  return text([
    ...generatedBy('python', `A Python app: ${project.found}.`),
    ...(hasStage ? stage : []),
    `FROM ${base}`,
    `ENV ${variables.map(([key, value]) => `${key}=${value}`).join(' ')} PORT=${defaultPort}`,
    `ENV PYTHONPATH=${pythonPath.map((folder) => (folder === '.' ? '/app' : `/app/${folder}`)).join(':')}${hasStage ? ' PATH=/venv/bin:$PATH' : ''}`,
    'WORKDIR /app',
    hasStage ? 'COPY --from=dependencies /venv /venv' : undefined,
    'COPY . ./',
    '# A number, so that run_as_non_root can be checked; it may write to /tmp only.',
    `USER ${appUser}`,
    `EXPOSE ${defaultPort}`,
    start === undefined ? undefined : `CMD ${exec(start)}`,
  ]);
}

/** Returns one `COPY` per folder, since a single one would put all files into the same folder. */
function manifestCopies(manifests: readonly string[]): string[] {
  const folders = new Map<string, string[]>();
  for (const path of manifests) {
    const folder = path.includes('/') ? `./${path.slice(0, path.lastIndexOf('/'))}/` : './';
    folders.set(folder, [...(folders.get(folder) ?? []), path]);
  }
  return [...folders].map(([folder, paths]) => copy(paths, folder));
}
