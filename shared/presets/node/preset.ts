/** The preset `node`: a package.json with the lock file of npm, yarn or pnpm, possibly with workspaces. */
import { type BuildStage, type Plan, type Preset, command } from '../plan.ts';
import { type NodeProject, readNodeProject } from './project.ts';

const base = 'node:24-slim';
const ignored = ['**/node_modules', '**/npm-debug.log*', '**/yarn-error.log', '.next/cache', 'coverage'];
const missing =
  'package.json does not say what to start: add a "start" script, a "main" that exists, or a server.js; or give the app a Dockerfile';

export const node: Preset = {
  plan: async (tree) => nodePlan(await readNodeProject(tree)),
};

export function nodePlan(project: NodeProject): Plan {
  const { build, cwd, installNeedsTree, start } = project;
  const stage = buildStage(project);
  const copiesTree = stage === undefined || (build.length === 0 && !installNeedsTree);
  return {
    preset: 'node',
    title: [project.manager.name, 'Node 24'],
    reasons: foundIn(project),
    dir: cwd,
    binaries: cwd === '' ? ['node_modules/.bin'] : [`${cwd}/node_modules/.bin`, 'node_modules/.bin'],
    build: stage,
    run: {
      image: base,
      systemPackages: [],
      env: { NODE_ENV: 'production' },
      hostVariables: [],
      fromBuild: stage === undefined ? [] : [''],
      fromTree: copiesTree ? [''] : [],
    },
    start: start === undefined ? { kind: 'none', missing } : { kind: 'command', words: start },
    ignored,
  };
}

function foundIn({ manager, manifests, build, cwd }: NodeProject): string[] {
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

/** Installs dependencies, and builds if there is a build script. */
function buildStage(project: NodeProject): BuildStage | undefined {
  const { manager, manifests, installNeedsTree, build, needsDevelopment, hasDependencies, isInstalled, cwd } = project;
  if (!hasDependencies && build.length === 0) return undefined;
  const production = needsDevelopment === 'no';
  const install = production ? manager.installProduction : manager.installAll;
  return {
    image: base,
    systemPackages: [],
    env: manager.env,
    manifests: installNeedsTree ? 'tree' : [...manifests.values()].flat(),
    install: hasDependencies ? [command(...install)] : [],
    build: build.map((script) => ({ words: [...manager.run, script], in: cwd })),
    prune: needsDevelopment === 'build' && manager.prune !== undefined ? [command(...manager.prune)] : [],
    isInstalled,
  };
}
