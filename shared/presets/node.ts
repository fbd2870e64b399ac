/** The preset `node`: a package.json with the lock file of npm, yarn or pnpm, possibly with workspaces. */
import { copy, exec, generatedBy, ignoreFile, run, text } from './dockerfile.ts';
import { type NodeProject, noStart, readNodeProject } from './node-project.ts';
import { type Preset, type PresetTree, appUser, defaultPort } from './preset.ts';

const base = 'node:24-slim';
export const nodeIgnored = ['**/node_modules', '**/npm-debug.log*', '**/yarn-error.log', '.next/cache', 'coverage'];

export const node: Preset = {
  async files(tree, needed) {
    const project = await readNodeProject(tree);
    const { start } = project;
    if (start === undefined && needed === 'required') throw noStart();
    return {
      dockerfile: dockerfile(project),
      files: await ignoreFile(tree, nodeIgnored),
      found: [...foundIn(project), ...(start === undefined ? [] : [`starts ${start.join(' ')}`])],
    };
  },

  async command(tree) {
    const project = await readNodeProject(tree);
    return {
      install: installCommands(project),
      run: project.start,
      cwd: project.cwd,
      binaries: binaries(project.cwd),
      env: project.manager.env,
    };
  },
};

/** Whether the tree has something to start with node. */
export async function startsWithNode(tree: PresetTree): Promise<boolean> {
  return (await readNodeProject(tree)).start !== undefined;
}

/** Returns the commands that prepare a complete tree, in which dependencies may already be installed. */
export function installCommands({ hasDependencies, isInstalled, manager, build }: NodeProject): readonly string[][] {
  const install = hasDependencies && !isInstalled ? [[...manager.installAll]] : [];
  return [...install, ...build.map((script) => [...manager.run, script])];
}

export function foundIn({ manager, manifests, build, cwd }: NodeProject): string[] {
  const count = manifests.size - 1;
  return [
    manager.lockfile === undefined ? `${manager.name}, no lock file` : `${manager.name}, ${manager.lockfile}`,
    ...(count > 0 ? [`${count} workspace${count === 1 ? '' : 's'}`] : []),
    ...(cwd === '' ? [] : [`the app is ${cwd}`]),
    ...(build.length > 0
      ? [`builds with ${build.map((name) => `${manager.run.at(-2) ?? ''} run ${name}`).join(', ')}`]
      : []),
  ];
}

/** Returns a stage that installs dependencies, and builds if there is a build script. */
export function installStage(project: NodeProject, name: string): string[] {
  const { manager, manifests, installNeedsTree, build, needsDevelopment } = project;
  const production = needsDevelopment === 'no';
  const manifestCopies = [...manifests].map(([folder, files]) => copy(files, folder === '' ? './' : `./${folder}/`));
  const prunes = needsDevelopment === 'build' && manager.prune !== undefined ? [run(manager.prune)] : [];
  return [
    `FROM ${base} AS ${name}`,
    'WORKDIR /app',
    ...envLines(manager.env),
    ...(installNeedsTree
      ? ['# Installing runs scripts of the app, or reads more of it than its manifests.', 'COPY . ./']
      : manifestCopies),
    run(production ? manager.installProduction : manager.installAll),
    ...(build.length > 0 && !installNeedsTree ? ['COPY . ./'] : []),
    ...build.map(
      (script) => `${project.cwd === '' ? '' : `WORKDIR /app/${project.cwd}\n`}${run([...manager.run, script])}`,
    ),
    ...(build.length > 0 && project.cwd !== '' ? ['WORKDIR /app'] : []),
    ...prunes,
  ];
}

function dockerfile(project: NodeProject): string {
  const { hasDependencies, build, cwd, installNeedsTree, start } = project;
  const hasStage = hasDependencies || build.length > 0;
  const copiesTree = !hasStage || (build.length === 0 && !installNeedsTree);
  const stage = build.length > 0 ? 'build' : 'dependencies';
  return text([
    ...generatedBy('node', 'A Node.js app.'),
    ...(hasStage ? [...installStage(project, stage), ''] : []),
    `FROM ${base}`,
    `ENV NODE_ENV=production PORT=${defaultPort} PATH=${binaries(cwd)
      .map((path) => `/app/${path}`)
      .join(':')}:$PATH`,
    'WORKDIR /app',
    hasStage ? `COPY --from=${stage} /app ./` : undefined,
    copiesTree ? 'COPY . ./' : undefined,
    cwd === '' ? undefined : `WORKDIR /app/${cwd}`,
    '# A number, so that run_as_non_root can be checked; it may write to /tmp only.',
    `USER ${appUser}`,
    `EXPOSE ${defaultPort}`,
    start === undefined ? undefined : `CMD ${exec(start)}`,
  ]);
}

function envLines(env: Readonly<Record<string, string>>): string[] {
  return Object.entries(env).map(([key, value]) => `ENV ${key}=${value}`);
}

function binaries(cwd: string): string[] {
  return cwd === '' ? ['node_modules/.bin'] : [`${cwd}/node_modules/.bin`, 'node_modules/.bin'];
}
