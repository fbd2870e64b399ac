/** The preset `bun`: apps that Bun itself runs. Those that only install with Bun are apps of the preset `node`. */
import type { NodeApp } from './node/app.ts';
import { allDependencies } from './node/manifest.ts';
import { type NodeProject, buildScripts, findNodeApp } from './node/project.ts';
import { toolsOf } from './node/scripts.ts';
import { neededBy } from './node/workspaces.ts';
import { type Plan, type PlanCommand, type PlanRequest, type Preset, command } from './plan.ts';
import { allOf, foldersIn, type PresetTree } from './tree.ts';
import { chooseVersion, type Language } from './versions.ts';

const language: Language = { key: 'bun', name: 'Bun', tools: ['bun'], files: ['.bun-version'], lines: ['1'] };
const marks = ['bun.lock', 'bun.lockb', 'bunfig.toml'];
const entries = ['src/index.ts', 'src/index.tsx', 'src/server.ts', 'src/main.ts', 'src/app.ts', 'index.ts', 'index.tsx', 'server.ts', 'main.ts', 'app.ts', 'index.js', 'server.js']; // prettier-ignore
/** Where the process platform has Bun: it is installed with the app, since a machine may have none. */
const tools = '.holdfast-bun';

/** Returns the command if Bun runs the app: by its start script, or by a file in a folder that Bun has installed. */
async function bunStart(
  tree: PresetTree,
  project: Omit<NodeProject, 'manager'>,
): Promise<readonly string[] | undefined> {
  const { app, start } = project;
  if (start.kind === 'framework' || start.kind === 'site') return undefined;
  if (start.kind === 'words' && toolsOf(app.scripts, start.text).has('bun')) return start.words;
  const isNode = start.kind === 'words' && start.reason.startsWith('package.json');
  if (isNode || !(await hasMark(tree, app))) return undefined;
  const { module, main } = app.manifest;
  for (const file of [module, main, ...entries]) {
    const path = file?.replace(/^\.\//, '');
    if (path !== undefined && (await app.has(path))) return ['bun', 'run', path];
  }
  return undefined;
}

async function hasMark(tree: PresetTree, app: NodeApp): Promise<boolean> {
  const { manifest } = app;
  if ((await allOf(tree, marks)).length > 0 || manifest.packageManager?.startsWith('bun@') === true) return true;
  const names = Object.keys(allDependencies(manifest));
  return names.includes('@types/bun') || names.includes('bun-types') || manifest.engines['bun'] !== undefined;
}

export async function startsWithBun(tree: PresetTree, request: PlanRequest): Promise<string | undefined> {
  if ((await allOf(tree, ['package.json', ...marks])).length === 0) return undefined;
  const words = await bunStart(tree, await findNodeApp(tree, request));
  return words === undefined ? undefined : `starts ${words.join(' ')}`;
}

export const bun: Preset = {
  async plan(tree, request): Promise<Plan> {
    const project = await findNodeApp(tree, request);
    const { app, workspaces, root } = project;
    const { dir } = app;
    const words = await bunStart(tree, project);
    const { version, reason } = await chooseVersion(tree, language, {
      request,
      folders: dir === '' ? [''] : [dir, ''],
      declared: [declared(project)],
    });
    const [lock] = await allOf(tree, ['bun.lock', 'bun.lockb']);
    const all = [root, ...workspaces.values()];
    const hasDependencies = workspaces.size > 0 || all.some((one) => Object.keys(allDependencies(one)).length > 0);
    const build = buildCommands(project);
    const production = build.length === 0 && !/--production/.test(words?.join(' ') ?? '') ? ['--production'] : [];
    const install = ['bun', 'install', ...(lock === undefined ? [] : ['--frozen-lockfile']), ...production];
    const files = await allOf(tree, ['package.json', 'bun.lock', 'bun.lockb', 'bunfig.toml', '.npmrc']);
    const image = `oven/bun:${version}`;
    const hasStage = hasDependencies || build.length > 0;
    return {
      preset: 'bun',
      title: [`Bun ${version}`],
      reasons: [
        ...(words === undefined ? [] : [`starts ${words.join(' ')}`]),
        lock === undefined ? 'no lock file' : `${lock}: Bun`,
        ...(reason === undefined ? [] : [reason]),
      ],
      dir,
      binaries: [
        ...(dir === '' ? [] : [`${dir}/node_modules/.bin`]),
        'node_modules/.bin',
        `${tools}/node_modules/.bin`,
      ],
      build: {
        image,
        systemPackages: [],
        env: {},
        manifests: needsTree(project, await foldersIn(tree, '')) ? 'tree' : [...files, ...[...workspaces.keys()].map((folder) => `${folder}/package.json`)], // prettier-ignore
        install: [
          {
            words: ['npm', 'install', '--prefix', tools, '--no-audit', '--no-fund', `bun@${version}`],
            only: 'process',
          },
          ...(hasDependencies ? [command(...install)] : []),
        ],
        build,
        prune: [],
      },
      run: {
        image: `${image}-slim`,
        systemPackages: [],
        env: { NODE_ENV: 'production' },
        hostVariables: [],
        fromBuild: hasStage ? [''] : [],
        fromTree: build.length > 0 ? [] : [''],
      },
      start:
        words === undefined
          ? {
              kind: 'none',
              missing: 'package.json does not say what Bun starts: add a "start" script or a "module" that exists',
            }
          : { kind: 'command', words },
      ignored: ['**/node_modules', tools],
    };
  },
};

function declared({ app, root }: Pick<NodeProject, 'app' | 'root'>): { text: string; from: string } | undefined {
  const exact = /^bun@(\d+(?:\.\d+){0,2})/.exec(root.packageManager ?? '')?.[1];
  if (exact !== undefined) return { text: exact, from: 'packageManager' };
  const engine = app.manifest.engines['bun'];
  return engine === undefined ? undefined : { text: engine, from: 'package.json engines' };
}

function buildCommands({ app, workspaces }: Omit<NodeProject, 'manager'>): PlanCommand[] {
  const needed = app.dir === '' ? [] : neededBy(workspaces, app.dir);
  const before = needed.filter((folder) => workspaces.get(folder)?.scripts['build'] !== undefined);
  return [
    ...before.map((folder) => ({ words: ['bun', 'run', 'build'], in: folder })),
    ...buildScripts(app).map((name) => ({ words: ['bun', 'run', name], in: app.dir })),
  ];
}

function needsTree({ root, workspaces }: Omit<NodeProject, 'manager'>, folders: readonly string[]): boolean {
  const all = [root, ...workspaces.values()];
  const specs = all.flatMap((one) => Object.values(allDependencies(one)));
  return (
    all.some((one) =>
      ['preinstall', 'install', 'postinstall', 'prepare'].some((name) => one.scripts[name] !== undefined),
    ) ||
    specs.some((spec) => /^(?:file:|link:|\.{0,2}\/)/.test(spec)) ||
    folders.includes('patches')
  );
}
