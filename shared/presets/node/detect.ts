/** Whether a folder has something to start or to build with node. */
import { type PlanRequest, emptyRequest } from '../plan.ts';
import { procfileLine } from '../procfile.ts';
import { firstOf, type PresetTree } from '../tree.ts';
import { findNodeApp } from './project.ts';

/** Something to start: a script, a framework's server, or a well-known file. */
export async function startsWithNode(
  tree: PresetTree,
  request: PlanRequest = emptyRequest,
): Promise<string | undefined> {
  if (!(await mayBeNode(tree))) return undefined;
  const { start } = await findNodeApp(tree, request);
  if (start.kind !== 'words' && (await hasProcfile(tree))) return 'Procfile';
  return start.kind === 'words' || start.kind === 'framework' ? start.reason : undefined;
}

/** A site that is built with node. */
export async function buildsSite(tree: PresetTree, request: PlanRequest = emptyRequest): Promise<string | undefined> {
  if (!(await tree.has('package.json'))) return undefined;
  const { start } = await findNodeApp(tree, request);
  return start.kind === 'site' ? start.reason : undefined;
}

const others = ['go.mod', 'requirements.txt', 'pyproject.toml', 'Pipfile', 'manage.py', 'Gemfile', 'composer.json', 'pom.xml', 'build.gradle', 'build.gradle.kts', 'Cargo.toml']; // prettier-ignore

/** A Procfile beside a package.json, and beside no manifest of another language. */
async function hasProcfile(tree: PresetTree): Promise<boolean> {
  if (!(await tree.has('package.json')) || (await firstOf(tree, others)) !== undefined) return false;
  const line = await procfileLine(tree, '');
  return line !== undefined && !/^(?:npm|yarn|pnpm|bun)(?: run)? start$/.test(line);
}

async function mayBeNode(tree: PresetTree): Promise<boolean> {
  const files = ['package.json', 'server.js', 'server.mjs', 'server.cjs', 'server.ts', 'index.js', 'index.mjs', 'index.cjs', 'index.ts']; // prettier-ignore
  return (await firstOf(tree, files)) !== undefined;
}
