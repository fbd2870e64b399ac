/** How a source tree becomes an image: by its own Dockerfile, or by the one of a preset. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { presetDockerfile } from '../../shared/presets/dockerfile.ts';
import type { AppSpec, PresetName } from '../../shared/protocol/app-spec.ts';

/** The presets, as shared/presets has them. */
export interface Presets {
  detect(folder: string): Promise<PresetName | undefined>;
  /**
   * @param start is `optional` if the app has a `command`, so that the image needs none.
   * @throws AppError dockerfile_invalid if the preset does not fit the tree.
   */
  files(
    name: PresetName,
    folder: string,
    start: 'required' | 'optional',
  ): Promise<{ readonly dockerfile: string; readonly files: Readonly<Record<string, string>> }>;
}

export interface Recipe {
  readonly dockerfile: string;
  readonly extraFiles: Readonly<Record<string, string>>;
  /** Names the recipe in messages. */
  readonly title: string;
}

/** The part of an app's spec that decides the recipe. */
export interface RecipeSpec extends Pick<AppSpec, 'command'> {
  readonly build: Pick<AppSpec['build'], 'dockerfile' | 'preset'>;
}

const usualDockerfile = 'Dockerfile';

/** @throws AppError dockerfile_invalid. */
export async function recipeOf(folder: string, spec: RecipeSpec, presets: Presets): Promise<Recipe> {
  const { dockerfile, preset } = spec.build;
  const start = spec.command === undefined ? 'required' : 'optional';
  if (preset !== undefined) return await presetRecipe(folder, preset, start, presets);
  const found = await stat(join(folder, dockerfile)).catch(() => undefined);
  if (found?.isFile() === true) return { dockerfile, extraFiles: {}, title: dockerfile };
  if (found !== undefined) throw invalid(`${dockerfile} is not a file`);
  // No preset replaces a Dockerfile that the app names.
  if (dockerfile !== usualDockerfile) throw invalid(`the source has no ${dockerfile}`);
  const detected = await presets.detect(folder);
  if (detected === undefined) {
    throw invalid(
      'the source has no Dockerfile and no preset fits it (node: package.json · python: requirements.txt or pyproject.toml · go: go.mod · static: index.html)',
    );
  }
  return await presetRecipe(folder, detected, start, presets);
}

async function presetRecipe(
  folder: string,
  preset: PresetName,
  start: 'required' | 'optional',
  presets: Presets,
): Promise<Recipe> {
  const { dockerfile, files } = await presets.files(preset, folder, start);
  return {
    // A name of its own: the tree may have a Dockerfile although the app asks for the preset.
    dockerfile: presetDockerfile,
    extraFiles: { ...files, [presetDockerfile]: dockerfile },
    title: `preset ${preset}`,
  };
}

function invalid(message: string): AppError {
  return new AppError('dockerfile_invalid', message, { phase: 'build' });
}
