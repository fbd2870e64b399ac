/** Whether a folder has something to start or to build with node. */
import { type PlanRequest, emptyRequest } from '../plan.ts';
import { firstOf, type PresetTree } from '../tree.ts';
import { findNodeApp } from './project.ts';

/** Something to start: a script, a framework's server, or a well-known file. */
export async function startsWithNode(
  tree: PresetTree,
  request: PlanRequest = emptyRequest,
): Promise<string | undefined> {
  if (!(await mayBeNode(tree))) return undefined;
  const { start } = await findNodeApp(tree, request);
  return start.kind === 'words' || start.kind === 'framework' ? start.reason : undefined;
}

/** A site that is built with node. */
export async function buildsSite(tree: PresetTree, request: PlanRequest = emptyRequest): Promise<string | undefined> {
  if (!(await tree.has('package.json'))) return undefined;
  const { start } = await findNodeApp(tree, request);
  return start.kind === 'site' ? start.reason : undefined;
}

async function mayBeNode(tree: PresetTree): Promise<boolean> {
  const files = ['package.json', 'server.js', 'server.mjs', 'server.cjs', 'server.ts', 'index.js', 'index.mjs', 'index.cjs', 'index.ts']; // prettier-ignore
  return (await firstOf(tree, files)) !== undefined;
}
