/** The preset `node`, and sites that are built with node. */
import {
  type BuildStage,
  type Plan,
  type PlanCommand,
  type PlanRequest,
  type Preset,
  type Start,
  command,
  misfit,
} from '../plan.ts';
import { procfileLine, shellStart } from '../procfile.ts';
import { at, foldersIn, type PresetTree } from '../tree.ts';
import { chooseVersion } from '../versions.ts';
import { type BasePath, basePathOf, noBasePath } from './base.ts';
import { allDependencies } from './manifest.ts';
import { type NodeProject, type NodeStart, buildScripts, readNodeProject } from './project.ts';
import { bringsTool, toolsOf } from './scripts.ts';
import { systemPackages } from './system.ts';
import { declaredVersions, nodeLanguage } from './versions.ts';
import { neededBy } from './workspaces.ts';

const ignored = ['**/node_modules', '**/npm-debug.log*', '**/yarn-error.log', '.next/cache', 'coverage', '**/.turbo'];
const missing =
  'package.json does not say what to start: add a "start" script, a "main" that exists, or a server.js; or give the app a Dockerfile';
/** Scripts that package managers run when they install. */
const treeScripts = ['preinstall', 'install', 'postinstall', 'prepare'];
/** Folders that package managers read during an install. */
const treeFolders = ['patches', '.yarn', 'prisma'];

interface Project extends NodeProject {
  readonly base: BasePath;
}

export const node: Preset = { plan: nodePlan };

export async function nodePlan(tree: PresetTree, request: PlanRequest): Promise<Plan> {
  for (const file of ['package.json5', 'package.yaml']) {
    if ((await tree.has(file)) && !(await tree.has('package.json')))
      throw misfit(`${file} is not supported: only pnpm reads it; rename it to package.json, as JSON`);
  }
  const read = await readNodeProject(tree, request);
  const start = await givenStart(tree, read, request);
  const built = start.kind === 'site' || start.kind === 'framework' ? read.framework?.plan : undefined;
  const base = built === undefined ? noBasePath : await basePathOf(read.app, built);
  const project: Project = { ...read, start, base };
  const { app, framework, manager, workspaces, root } = project;
  const { dir } = app;
  const paths = dir === '' ? [''] : [dir, ''];
  const manifests = paths.map((path) => [at(path, 'package.json'), path === '' ? root : app.manifest] as const);
  const { version, reason } = await chooseVersion(tree, nodeLanguage, {
    request,
    folders: paths,
    declared: declaredVersions(manifests),
  });
  const image = `node:${version}-slim`;
  const system = await systemPackages(tree, manager, [root, ...workspaces.values()]);
  const stage = await buildStage(tree, project, { image, systemPackages: system.build });
  const usesFramework = framework !== undefined && start.kind === 'framework';
  const standalone = usesFramework ? framework.plan.standalone : undefined;
  const runsSources = stage === undefined || stage.build.length === 0;
  const isWhole = stage !== undefined && (!runsSources || stage.manifests === 'tree');
  const count = workspaces.size;
  return {
    preset: start.kind === 'site' ? 'static' : 'node',
    title: [...(framework === undefined ? [] : [framework.title]), ...(stage === undefined || stage.install.length === 0 ? [] : [manager.title]), `Node ${version}`], // prettier-ignore
    reasons: [
      ...(framework === undefined ? [] : [framework.reason]),
      ...(start.kind === 'none' ? [] : [start.reason]),
      ...(stage === undefined || stage.install.length === 0 ? [] : [manager.reason]),
      ...(reason === undefined ? [] : [reason]),
      ...(count > 0 ? [`${count} workspace${count === 1 ? '' : 's'}`] : []),
      ...(dir === '' ? [] : [`the app is ${dir}`]),
    ],
    notes: framework?.plan.notes ?? [],
    path: { isTold: base.isTold, advice: base.advice },
    dir,
    binaries: dir === '' ? ['node_modules/.bin'] : [`${dir}/node_modules/.bin`, 'node_modules/.bin'],
    build: stage,
    run: {
      image,
      systemPackages: system.run,
      env: { NODE_ENV: 'production', ...(usesFramework ? framework.plan.env : {}), ...base.env },
      hostVariables: usesFramework ? (framework.plan.hostVariables ?? []) : [],
      fromBuild: stage === undefined ? [] : (standalone?.map((path) => at(dir, path)) ?? ['']),
      fromTree: standalone === undefined && !isWhole ? [''] : [],
    },
    start: planStart(project),
    ignored: [
      ...ignored,
      ...(framework?.plan.ignored ?? []).map((path) => (path.startsWith('**') ? path : at(dir, path))),
    ],
  };
}

/** A command of the user, from the settings or a Procfile, decides which dependencies are needed at run time. */
async function givenStart(
  tree: PresetTree,
  { app, start }: NodeProject,
  { settings }: PlanRequest,
): Promise<NodeStart> {
  const line = await procfileLine(tree, app.dir);
  const isOwn = line !== undefined && (start.kind === 'none' || !/^(?:npm|yarn|pnpm|bun)(?: run)? start$/.test(line));
  const text = settings.start ?? (settings.output === undefined && isOwn ? line : undefined);
  if (text === undefined) return start;
  return {
    kind: 'words',
    words: shellStart(text),
    text,
    reason: settings.start === undefined ? 'Procfile' : 'build.start',
  };
}

function planStart({ app, framework, start }: NodeProject): Start {
  switch (start.kind) {
    case 'words':
      return { kind: 'command', words: start.words };
    case 'framework':
      return { kind: 'command', words: framework?.plan.start ?? [] };
    case 'site':
      return { kind: 'site', folders: [...new Set(start.folders.map((path) => at(app.dir, path)))], spa: start.spa };
    case 'none':
      return { kind: 'none', missing: start.missing ?? missing };
  }
}

async function buildStage(
  tree: PresetTree,
  project: Project,
  base: Pick<BuildStage, 'image' | 'systemPackages'>,
): Promise<BuildStage | undefined> {
  const { manager, workspaces, root, framework, start } = project;
  const all = [root, ...workspaces.values()];
  const build = buildCommands(project);
  const needs = needsDevelopment(project, build.length > 0);
  const hasRun = all.some((one) => Object.keys({ ...one.dependencies, ...one.optionalDependencies }).length > 0);
  const hasDeveloped = all.some((one) => Object.keys(one.devDependencies).length > 0);
  const installs = hasRun || workspaces.size > 0 || (hasDeveloped && needs !== 'no');
  if (!installs && build.length === 0) return undefined;
  const folders = await foldersIn(tree, '');
  const specs = all.flatMap((one) => Object.values(allDependencies(one)));
  const readsTree =
    all.some((one) => treeScripts.some((name) => one.scripts[name] !== undefined)) ||
    specs.some((spec) => /^(?:file:|link:|portal:|patch:|\.{0,2}\/)/.test(spec)) ||
    treeFolders.some((name) => folders.includes(name));
  const install = needs === 'no' ? manager.installProduction : manager.installAll;
  const isPruned = needs === 'build' && manager.prune !== undefined && start.kind !== 'site';
  const keepsModules = framework === undefined || start.kind !== 'framework' || framework.plan.standalone === undefined;
  return {
    ...base,
    env: { ...manager.env, ...framework?.plan.buildEnv, ...project.base.buildEnv },
    manifests: readsTree ? 'tree' : await manifestFiles(tree, project),
    install: installs ? [command(...install)] : [],
    build,
    prune: installs && isPruned && keepsModules ? [command(...(manager.prune ?? []))] : [],
    isInstalled: folders.includes('node_modules'),
    installTexts: await configTexts(tree),
  };
}

/** Builds of the packages that the app needs, in order, and its own. */
function buildCommands({ manager, workspaces, app, framework, start, base: { option } }: Project): PlanCommand[] {
  const { dir } = app;
  const needed = dir === '' ? [] : neededBy(workspaces, dir);
  const before = needed.flatMap((folder): PlanCommand[] =>
    workspaces.get(folder)?.scripts['build'] === undefined ? [] : [{ words: [...manager.run, 'build'], in: folder }],
  );
  const usesOutput = start.kind === 'framework' || start.kind === 'site';
  const scripts = buildScripts(app).filter((name) => name !== 'prestart' || start.kind === 'words');
  const own = scripts.map((name): PlanCommand => ({
    words: [...manager.run, name, ...(name === 'build' && option.length > 0 ? ['--', ...option] : [])],
    in: dir,
  }));
  const ofFramework = framework?.plan.build;
  const extra = usesOutput ? (framework?.plan.afterBuild ?? []).map((one) => ({ ...one, in: dir })) : [];
  const expects = start.kind === 'framework' ? framework?.plan.expects : undefined;
  const check = expects === undefined ? [] : [checkOf(expects, dir)];
  if (own.length > 0 || !usesOutput || ofFramework === undefined) return [...before, ...own, ...extra, ...check];
  return [...before, { words: [...ofFramework, ...option], in: dir }, ...extra, ...check];
}

function checkOf(
  { file, missing: text }: { readonly file: string; readonly missing: string },
  dir: string,
): PlanCommand {
  const script = `[ -f '${file}' ] || { echo 'no ${file} is there after the build: ${text}' >&2; exit 1; }`;
  return { words: ['sh', '-c', script], in: dir, title: `look for ${file}` };
}

/** Which step needs development dependencies: building (or installing), starting, or none. */
function needsDevelopment({ root, app, start, workspaces }: NodeProject, builds: boolean): 'no' | 'build' | 'start' {
  const developed = [...Object.keys(root.devDependencies), ...Object.keys(app.manifest.devDependencies)];
  if (start.kind === 'words' && developed.length > 0) {
    const tools = toolsOf(app.scripts, start.text);
    const kept = [...Object.keys(root.dependencies), ...Object.keys(app.manifest.dependencies)];
    if (bringsTool(developed.filter((name) => !kept.includes(name)), tools)) return 'start'; // prettier-ignore
  }
  if (builds) return 'build';
  const all = [root, ...workspaces.values()];
  const hasDeveloped = all.some((one) => Object.keys(one.devDependencies).length > 0);
  return hasDeveloped && all.some((one) => treeScripts.some((name) => one.scripts[name] !== undefined))
    ? 'build'
    : 'no';
}

async function manifestFiles(tree: PresetTree, { manager, workspaces }: NodeProject): Promise<string[]> {
  const found: string[] = [];
  for (const file of ['package.json', ...manager.files]) if (await tree.has(file)) found.push(file);
  return [...found, ...[...workspaces.keys()].map((folder) => `${folder}/package.json`)];
}

async function configTexts(tree: PresetTree): Promise<string[]> {
  const texts: string[] = [];
  for (const file of ['.npmrc', '.yarnrc.yml', '.yarnrc', 'bunfig.toml']) {
    const text = await tree.read(file);
    if (text !== undefined) texts.push(text);
  }
  return texts;
}
