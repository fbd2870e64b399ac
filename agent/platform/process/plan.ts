/** How a folder is run without an image: what to install first, and the command, which is the app's own or that of its plan. */
import { fileURLToPath } from 'node:url';
import { toAppError } from '../../../shared/errors.ts';
import { findPlan, planFor } from '../../../shared/presets/folder-plan.ts';
import { folderTree } from '../../../shared/presets/folder-tree.ts';
import type { Site } from '../../../shared/presets/plan.ts';
import { type ProcessCommands, processCommands } from '../../../shared/presets/render/commands.ts';
import { type PlannedApp, planRequest } from '../../../shared/presets/settings.ts';

/** A plan that has a command. */
export interface RunnablePlan extends Omit<ProcessCommands, 'site'> {
  readonly run: readonly string[];
}

const staticServer = fileURLToPath(new URL('./static-server.ts', import.meta.url));
/** For an app with a command in a folder that no preset fits: nothing is installed. */
const bare: Omit<RunnablePlan, 'run'> = {
  install: [],
  build: [],
  manifests: [],
  cwd: '',
  binaries: ['node_modules/.bin'],
  installEnv: {},
  env: {},
  notes: [],
};

/**
 * A `command` of the app runs instead of the plan's, with what the plan installs.
 * @throws AppError source_invalid, dockerfile_invalid when neither says what to run.
 */
export async function planFolder(spec: PlannedApp, folder: string, stripped?: boolean): Promise<RunnablePlan> {
  const tree = folderTree(folder);
  const request = planRequest(spec, stripped);
  const { command } = spec;
  if (command === undefined) {
    const { site, ...plan } = processCommands(await planFor(tree, request));
    return { ...plan, run: plan.run ?? (site === undefined ? [] : served(site)) };
  }
  try {
    const plan = await findPlan(tree, request);
    return { ...(plan === undefined ? bare : processCommands(plan)), run: command };
  } catch (error) {
    const known = toAppError(error);
    if (known.code !== 'dockerfile_invalid') throw known;
    return { ...bare, run: command };
  }
}

function served({ folders, spa }: Site): readonly string[] {
  return ['node', staticServer, `--spa=${spa}`, ...folders.map((folder) => (folder === '' ? '.' : folder))];
}
