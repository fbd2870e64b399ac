/** The preset `static`: files served by nginx, possibly from a site that is built with node first. */
import { buildsSite } from './node/detect.ts';
import { nodePlan } from './node/preset.ts';
import { type Plan, type PlanRequest, type Preset, misfit } from './plan.ts';
import { at, type PresetTree } from './tree.ts';

const siteFolders = ['', 'dist', 'public', 'build', 'out', '_site', 'site', 'www'];

export const staticFiles: Preset = {
  async plan(tree, request) {
    if ((await buildsSite(tree, request)) !== undefined) return nodePlan(tree, request);
    const folder = (await staticfileRoot(tree)) ?? (await plainFolder(tree)) ?? request.settings.output;
    if (folder === undefined)
      throw misfit('there is no index.html, neither in the folder nor in dist, public or build');
    return plainSite(folder);
  },
};

/** Says what makes the folder a site that needs no build. */
export async function plainFiles(tree: PresetTree, request: PlanRequest): Promise<string | undefined> {
  const root = (await staticfileRoot(tree)) ?? (await plainFolder(tree)) ?? request.settings.output;
  return root === undefined ? undefined : at(root, 'index.html');
}

/** The `root` of a Staticfile, as the static buildpack of Cloud Foundry reads it. */
async function staticfileRoot(tree: PresetTree): Promise<string | undefined> {
  const text = await tree.read('Staticfile');
  if (text === undefined) return undefined;
  const root = /^root:[ \t]*["']?([\w@./-]+)/m
    .exec(text)?.[1]
    ?.replace(/^\.?\//, '')
    .replace(/\/+$/, '');
  if (root === undefined || root === '.' || root.split('/').includes('..')) return (await plainFolder(tree)) ?? '';
  return root;
}

async function plainFolder(tree: PresetTree): Promise<string | undefined> {
  for (const folder of siteFolders) if (await tree.has(at(folder, 'index.html'))) return folder;
  return undefined;
}

function plainSite(folder: string): Plan {
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
