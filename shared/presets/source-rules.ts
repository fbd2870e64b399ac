/**
 * The rules by which files of a folder are its source. Uploads of `holdfast deploy` and snapshots of the embedded default use the same
 * rules, so that they take the same files.
 */
import { toAppError } from '../errors.ts';
import type { AppSpec } from '../protocol/app-spec.ts';
import { parseDockerignore, readDockerignore } from '../source/dockerignore.ts';
import { byDockerignore } from '../source/left-out.ts';
import { madeFolders } from '../source/made-folders.ts';
import type { SourceRules } from '../source/tree-walk.ts';
import { findPlan } from './folder-plan.ts';
import { folderTree } from './folder-tree.ts';
import type { Plan } from './plan.ts';
import { ignoredBy } from './render/dockerfile.ts';
import { planRequest } from './settings.ts';
import type { PresetTree } from './tree.ts';

/** What an app says about its build. */
export type BuildSpec = Pick<AppSpec, 'build' | 'build_secrets' | 'command'>;

/**
 * What the `.dockerignore` lists, or else what the plan of the folder leaves out; and folders that are made again where the source is
 * built.
 * @param root an absolute path.
 * @throws AppError source_invalid; errors of the file system.
 */
export async function sourceRules(root: string, spec: BuildSpec): Promise<SourceRules> {
  const tree = folderTree(root);
  const { dockerfile, preset } = spec.build;
  if (preset === undefined && (await tree.has(dockerfile))) {
    const text = (await tree.read(dockerfile)) ?? '';
    const excludes = await readDockerignore(root, [dockerfile]);
    return { excludes, excludedBy: byDockerignore, made: madeFolders({ kind: 'dockerfile', text }) };
  }
  const plan = await planOf(tree, spec);
  const made = madeFolders(plan === undefined ? { kind: 'none' } : { kind: 'preset', name: plan.preset });
  const own = await readDockerignore(root);
  if (own !== undefined) return { excludes: own, excludedBy: byDockerignore, made };
  if (plan === undefined) return { made };
  const excludes = parseDockerignore(ignoredBy(plan).join('\n'));
  return { excludes, excludedBy: `preset ${plan.preset}`, made };
}

/** Returns undefined if no preset fits the folder, which is told when it is built. */
async function planOf(tree: PresetTree, spec: BuildSpec): Promise<Plan | undefined> {
  try {
    return await findPlan(tree, { ...planRequest(spec), hasCommand: true });
  } catch (error) {
    if (toAppError(error).code === 'dockerfile_invalid') return undefined;
    throw error;
  }
}
