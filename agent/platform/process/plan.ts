/** Plans how a folder is run: what to install first, and the command, which is the app's own or that of the preset that fits. */
import { fileURLToPath } from 'node:url';
import { AppError, toAppError } from '../../../shared/errors.ts';
import { detectPreset, presetCommand } from '../../../shared/presets/detect.ts';
import { folderTree } from '../../../shared/presets/folder-tree.ts';
import type { PresetCommand } from '../../../shared/presets/preset.ts';
import type { AppSpec } from '../../../shared/protocol/app-spec.ts';

/** A plan that has a command. */
export interface RunnablePlan extends PresetCommand {
  readonly run: readonly string[];
}

const staticServer = fileURLToPath(new URL('./static-server.ts', import.meta.url));
/** The plan for a folder that no preset fits: nothing to install, and no command. */
const bare: PresetCommand = { install: [], run: undefined, cwd: '', binaries: ['node_modules/.bin'], env: {} };

/**
 * A `command` of the app runs instead of the preset's, with what the preset installs.
 * @throws AppError source_invalid, dockerfile_invalid when neither says what to run.
 */
export async function planFolder(spec: Pick<AppSpec, 'command' | 'build'>, folder: string): Promise<RunnablePlan> {
  const tree = folderTree(folder);
  try {
    const name = spec.build.preset ?? (await detectPreset(tree));
    const plan = name === undefined ? bare : await presetCommand(name, tree);
    const run = spec.command ?? plan.run ?? (plan.serves && ['node', staticServer, ...plan.serves]);
    if (run !== undefined) return { ...plan, run };
  } catch (error) {
    const known = toAppError(error);
    // No preset fits the folder, so the command of the app gets nothing installed.
    if (spec.command !== undefined && known.code === 'dockerfile_invalid') return { ...bare, run: spec.command };
    throw known;
  }
  throw new AppError(
    'source_invalid',
    'the folder does not say what to run: give the app a `command`, or add a package.json with a start script, a server.js, an app.py, a go.mod or an index.html',
    { phase: 'source' },
  );
}
