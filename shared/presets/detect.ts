/** Detects the preset that fits a folder, and applies it. */
import { AppError } from '../errors.ts';
import type { PresetName } from '../protocol/app-spec.ts';
import { go } from './go.ts';
import { node, startsWithNode } from './node.ts';
import type { Preset, PresetCommand, PresetFiles, PresetTree } from './preset.ts';
import { python } from './python.ts';
import { findSite, staticFiles } from './static.ts';

const presets: Readonly<Record<PresetName, Preset>> = { node, python, go, static: staticFiles };
const pythonFiles = ['requirements.txt', 'pyproject.toml', 'app.py', 'main.py'];

/**
 * Returns the first preset that fits: node if there is something to start, go, python, static. A package.json often
 * exists only for tools, so on its own it is considered last.
 * @throws AppError source_invalid if a manifest cannot be read.
 */
export async function detectPreset(tree: PresetTree): Promise<PresetName | undefined> {
  if (await startsWithNode(tree)) return 'node';
  if (await tree.has('go.mod')) return 'go';
  for (const file of pythonFiles) if (await tree.has(file)) return 'python';
  if ((await findSite(tree)) !== undefined) return 'static';
  return (await tree.has('package.json')) ? 'node' : undefined;
}

/**
 * @param start `optional` if the app has its own `command`, so that the image may have none.
 * @throws AppError dockerfile_invalid if the tree lacks what the preset needs; the message says what to add.
 */
export function presetFiles(
  name: PresetName,
  tree: PresetTree,
  start: 'required' | 'optional' = 'required',
): Promise<PresetFiles> {
  return presets[name].files(tree, start);
}

/** Returns the commands with which the process platform runs the tree. @throws AppError dockerfile_invalid */
export function presetCommand(name: PresetName, tree: PresetTree): Promise<PresetCommand> {
  return presets[name].command(tree);
}

/** The error for a folder that no preset fits. */
export function noPreset(): AppError {
  return new AppError(
    'dockerfile_invalid',
    'the source has no Dockerfile, and no preset fits it: add a Dockerfile, or a package.json with a start script, a go.mod, a requirements.txt with an app.py, or an index.html',
    { phase: 'build', data: { logs: [] } },
  );
}
