/** What a folder needs before it runs, and what runs then: what the app says itself, or the preset that fits it. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import { detectPreset, presetCommand } from '../../../shared/presets/detect.ts';
import { folderTree } from '../../../shared/presets/folder-tree.ts';
import type { PresetCommand } from '../../../shared/presets/preset.ts';
import type { AppSpec } from '../../../shared/protocol/app-spec.ts';

/** How a folder is run. */
export interface RunnablePlan extends PresetCommand {
  readonly run: readonly string[];
}

/** Nothing to install, and nothing known to run. */
const bare: PresetCommand = { install: [], run: undefined, cwd: '', binaries: ['node_modules/.bin'], env: {} };

/**
 * A `command` of the app runs in place of the preset's, with what the preset installs.
 * @throws AppError source_invalid, dockerfile_invalid where neither says what to run.
 */
export async function planFolder(spec: Pick<AppSpec, 'command' | 'build'>, folder: string): Promise<RunnablePlan> {
  const tree = folderTree(folder);
  try {
    const name = spec.build.preset ?? (await detectPreset(tree));
    const plan = name === undefined ? bare : await presetCommand(name, tree);
    if (spec.command !== undefined) return { ...plan, run: spec.command };
    if (plan.run !== undefined) return { ...plan, run: plan.run };
  } catch (error) {
    const known = toAppError(error);
    // No preset can make anything of it: then the command needs nothing of one.
    if (spec.command !== undefined && known.code === 'dockerfile_invalid') return { ...bare, run: spec.command };
    throw known;
  }
  throw new AppError(
    'source_invalid',
    'the folder does not say what to run: give the app a `command`, or add a package.json with a start script, a server.js, an app.py, a go.mod or an index.html',
    { phase: 'source' },
  );
}
