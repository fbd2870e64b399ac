/** Whether a folder has something to start with node. */
import type { PresetTree } from '../tree.ts';
import { readNodeProject } from './project.ts';

export async function startsWithNode(tree: PresetTree): Promise<string | undefined> {
  const { start } = await readNodeProject(tree);
  return start === undefined ? undefined : `starts ${start.join(' ')}`;
}
