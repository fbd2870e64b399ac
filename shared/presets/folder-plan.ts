/**
 * How a folder becomes an app: by the preset that the app names, by its Dockerfile, or by the preset that fits. The one
 * place that decides it, for images, the process platform and the command line.
 */
import type { AppError } from '../errors.ts';
import type { PresetName } from '../protocol/build-settings.ts';
import { withBasePath } from './base-path.ts';
import { detectors, presets } from './detectors.ts';
import { type ForeignFile, readForeign } from './foreign.ts';
import { foreignNotes, notSupported, refuseUnsupported, unsupportedKind } from './others.ts';
import { type Plan, type PlanRequest, type PlanSettings, misfit } from './plan.ts';
import { adjusted, readSettings } from './settings.ts';
import type { PresetTree } from './tree.ts';

export type Recipe =
  { readonly kind: 'dockerfile'; readonly path: string } | { readonly kind: 'plan'; readonly plan: Plan };

const usualDockerfile = 'Dockerfile';

/**
 * @param dockerfile the path of the Dockerfile that the app names.
 * @throws AppError dockerfile_invalid if nothing fits, or what fits lacks something; source_invalid if a manifest cannot be read.
 */
export async function recipeFor(tree: PresetTree, dockerfile: string, request: PlanRequest): Promise<Recipe> {
  if (request.settings.preset === undefined) {
    if (await tree.has(dockerfile)) return { kind: 'dockerfile', path: dockerfile };
    // No preset replaces a Dockerfile that the app names.
    if (dockerfile !== usualDockerfile) throw misfit(`the source has no ${dockerfile}, or it is not a file`);
  }
  return { kind: 'plan', plan: await planFor(tree, request) };
}

/**
 * The plan by the preset that the app names or that fits, with what the app and the folder's holdfast.toml change.
 * @throws AppError as `recipeFor`.
 */
export async function planFor(tree: PresetTree, request: PlanRequest): Promise<Plan> {
  const plan = await findPlan(tree, request);
  if (plan === undefined) throw await noPreset(tree);
  return plan;
}

/** As `planFor`; undefined if the folder is of no known kind. */
export async function findPlan(tree: PresetTree, own: PlanRequest): Promise<Plan | undefined> {
  const settings = await readSettings(tree, own.settings);
  await refuseUnsupported(tree, settings);
  const foreign = await readForeign(tree);
  const request = { ...own, settings };
  const preset = request.settings.preset ?? (await detect(tree, request));
  if (preset === undefined) return undefined;
  const made = await presets[preset].plan(tree, request);
  const given = withForeign(settings, foreign, made);
  const plan = await adjusted(tree, given === settings ? made : await presets[preset].plan(tree, { ...request, settings: given }), { ...request, settings: given }); // prettier-ignore
  if (plan.start.kind === 'none' && !request.hasCommand) throw misfit(plan.start.missing);
  const { dir } = settings;
  if (dir !== undefined && plan.dir !== dir && plan.preset !== 'go')
    throw misfit(
      `build.dir is ${dir}, but the preset ${plan.preset} knows no workspaces: set \`dir\` of the app instead`,
    );
  const used = given === settings || foreign === undefined ? [] : [foreign.file];
  const notes = [...(plan.notes ?? []), ...(await foreignNotes(tree, new Set(used)))];
  const reasons = [...plan.reasons, ...used.map((file) => `${file}: its commands`)];
  return withBasePath({ ...plan, notes, reasons }, request.route);
}

/** What the files of other builders say counts where nothing of ours does. Their output folder is that of a site only. */
function withForeign(settings: PlanSettings, foreign: ForeignFile | undefined, plan: Plan): PlanSettings {
  if (foreign === undefined) return settings;
  const { output, ...commands } = foreign.settings;
  const isSite = plan.start.kind === 'site' && plan.build !== undefined;
  const all = { ...commands, ...(isSite ? { output } : {}) };
  const fresh = Object.entries(all).filter(([key, value]) => value !== undefined && settings[key as keyof typeof all] === undefined); // prettier-ignore
  return fresh.length === 0 ? settings : { ...settings, ...(Object.fromEntries(fresh) as Partial<PlanSettings>) };
}

/** Returns the preset of the first row that fits. @throws AppError source_invalid if a manifest cannot be read. */
async function detect(tree: PresetTree, request: PlanRequest): Promise<PresetName | undefined> {
  for (const { preset, detect: fits } of detectors) if ((await fits(tree, request)) !== undefined) return preset;
  return undefined;
}

/** The error for a folder that no preset fits. */
async function noPreset(tree: PresetTree): Promise<AppError> {
  const kind = await unsupportedKind(tree);
  if (kind !== undefined) return misfit(notSupported(kind));
  const looked = detectors.flatMap(({ looksFor }) => (looksFor === '' ? [] : [looksFor]));
  return misfit(
    `the folder has no Dockerfile, and no preset fits it: there is neither ${looked.join(', nor ')}. Add one of them or a Dockerfile, or set \`dir\` if the app is in a subfolder`,
  );
}
