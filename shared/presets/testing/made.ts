/** What is made of a tree, for tests of presets. */
import type { PresetName } from '../../protocol/build-settings.ts';
import { detectors } from '../detectors.ts';
import { planFor } from '../folder-plan.ts';
import { type PlanRequest, type PlanSettings, emptyRequest } from '../plan.ts';
import { processCommands } from '../render/commands.ts';
import { type ImageFiles, imageFiles } from '../render/dockerfile.ts';
import type { PresetTree } from '../tree.ts';

export function requestOf(
  settings: Partial<PlanSettings>,
  rest: Partial<Omit<PlanRequest, 'settings'>> = {},
): PlanRequest {
  return { ...emptyRequest, ...rest, settings: { ...emptyRequest.settings, ...settings } };
}

export async function detectPreset(tree: PresetTree): Promise<PresetName | undefined> {
  for (const { preset, detect } of detectors) if ((await detect(tree, emptyRequest)) !== undefined) return preset;
  return undefined;
}

export async function presetFiles(
  preset: PresetName,
  tree: PresetTree,
  start: 'required' | 'optional' = 'required',
): Promise<ImageFiles> {
  const request = requestOf({ preset }, { hasCommand: start === 'optional' });
  return imageFiles(tree, await planFor(tree, request), request);
}

/** The commands of the process platform, those of installing and building as their words alone. */
export async function presetCommand(
  preset: PresetName,
  tree: PresetTree,
): Promise<{
  readonly install: readonly (readonly string[])[];
  readonly run: readonly string[] | undefined;
  readonly binaries: readonly string[];
  readonly serves: readonly string[] | undefined;
}> {
  const { install, build, run, binaries, site } = processCommands(await planFor(tree, requestOf({ preset })));
  return { install: [...install, ...build].map(({ words }) => words), run, binaries, serves: site?.folders };
}
