/** The preset `static`: files served by nginx, possibly from a site that is built with node first. */
import { nodePlan } from './node/preset.ts';
import { readNodeProject } from './node/project.ts';
import { type Plan, type Preset, misfit } from './plan.ts';
import { at, type PresetTree } from './tree.ts';

const siteFolders = ['', 'dist', 'public', 'build', 'out', '_site', 'site', 'www'];
/** The usual output folders of site generators. */
const builtFolders = ['dist', 'build', 'out', '_site', 'public'];

export const staticFiles: Preset = {
  async plan(tree) {
    const plan = (await builtSite(tree)) ?? (await plainSite(tree));
    if (plan === undefined) throw misfit('there is no index.html, neither in the folder nor in dist, public or build');
    return plan;
  },
};

export async function hasSite(tree: PresetTree): Promise<string | undefined> {
  const plan = (await builtSite(tree)) ?? (await plainSite(tree));
  return plan?.reasons[0];
}

/** A package.json with a build script and nothing to start is a site to build; its index.html is only an input. */
async function builtSite(tree: PresetTree): Promise<Plan | undefined> {
  if (!(await tree.has('package.json'))) return undefined;
  const project = await readNodeProject(tree);
  if (project.start !== undefined || project.build.length === 0) return undefined;
  const plan = nodePlan({ ...project, needsDevelopment: 'start' });
  return {
    ...plan,
    preset: 'static',
    start: { kind: 'site', folders: builtFolders.map((folder) => at(project.cwd, folder)), spa: 'auto' },
  };
}

async function plainSite(tree: PresetTree): Promise<Plan | undefined> {
  for (const folder of siteFolders) {
    if (!(await tree.has(at(folder, 'index.html')))) continue;
    return {
      preset: 'static',
      title: ['Static files'],
      reasons: [at(folder, 'index.html')],
      dir: '',
      binaries: [],
      build: undefined,
      run: { image: 'nginx:1-alpine', systemPackages: [], env: {}, hostVariables: [], fromBuild: [], fromTree: [] },
      start: { kind: 'site', folders: [folder], spa: false },
      ignored: [],
    };
  }
  return undefined;
}
