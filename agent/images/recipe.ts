/** How a source tree becomes an image: by its own Dockerfile, or by the one that a preset's plan makes. */
import { folderTree } from '../../shared/presets/folder-tree.ts';
import { recipeFor } from '../../shared/presets/folder-plan.ts';
import { imageFiles, presetDockerfile } from '../../shared/presets/render/dockerfile.ts';
import { planRequest } from '../../shared/presets/settings.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';

export interface Recipe {
  readonly dockerfile: string;
  readonly extraFiles: Readonly<Record<string, string>>;
  /** Names the recipe in messages. */
  readonly title: string;
  /** What the author of the app should know, such as that the framework has to be told its path. */
  readonly notes: readonly string[];
}

/** The part of an app's spec that decides the recipe. */
export type RecipeSpec = Pick<AppSpec, 'command' | 'build' | 'build_secrets'> &
  Partial<Pick<AppSpec, 'path' | 'config'>>;

/**
 * @param stripped whether the router strips the path of the app.
 * @throws AppError dockerfile_invalid, source_invalid.
 */
export async function recipeOf(folder: string, spec: RecipeSpec, stripped?: boolean): Promise<Recipe> {
  const tree = folderTree(folder);
  const request = planRequest(spec, stripped);
  const recipe = await recipeFor(tree, spec.build.dockerfile, request);
  if (recipe.kind === 'dockerfile') return { dockerfile: recipe.path, extraFiles: {}, title: recipe.path, notes: [] };
  const { dockerfile, files } = await imageFiles(tree, recipe.plan, request);
  return {
    // A name of its own: the tree may have a Dockerfile although the app asks for the preset.
    dockerfile: presetDockerfile,
    extraFiles: { ...files, [presetDockerfile]: dockerfile },
    title: `preset ${recipe.plan.preset}`,
    notes: recipe.plan.notes ?? [],
  };
}
