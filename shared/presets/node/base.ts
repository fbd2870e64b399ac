/** How the frameworks of Node.js learn the path of an app that has no host of its own. */
import type { PlanRequest } from '../plan.ts';
import { type NodeApp, setting } from './app.ts';
import type { FrameworkPlan, PathSetting } from './frameworks/framework.ts';
import { bare, commandsOf } from './scripts.ts';

/** What the plan does so that links of the app's pages stay below its path. */
export interface BasePath {
  /** Words that are added to the build of the framework. */
  readonly option: readonly string[];
  readonly buildEnv: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  /** Whether the app knows its path then. */
  readonly isTold: boolean;
  /** What its author has to write otherwise. */
  readonly advice: string | undefined;
}

export const noBasePath: BasePath = { option: [], buildEnv: {}, env: {}, isTold: false, advice: undefined };

/** @param plan of the app's framework, whose build is run. */
export async function basePathOf(app: NodeApp, plan: FrameworkPlan): Promise<BasePath> {
  const { route } = app.request;
  if (route === undefined) return noBasePath;
  const path = route.path.replace(/\/+$/, '');
  const { basePath: base } = plan;
  if (base === undefined) return noBasePath;
  if ('config' in base) {
    const isTold = await isSet(app, base, path, route);
    return { ...noBasePath, isTold, advice: isTold ? undefined : advice(base, path) };
  }
  if (base.stripped !== route.stripped)
    return { ...noBasePath, advice: base.stripped ? undefined : 'set `strip_path = false` in [app.config]' };
  if ('variables' in base) {
    const set = base.variables(path);
    return { ...noBasePath, ...(base.at === 'build' ? { buildEnv: set } : { env: set }), isTold: true };
  }
  const script = app.scripts['build'];
  // An option is added to the end of the script, so the framework has to be its last command.
  const last = script === undefined ? undefined : bare(commandsOf(app.scripts, script).at(-1) ?? '');
  const program = plan.build?.[0];
  if (last !== undefined && last.split(' ')[0] !== program)
    return { ...noBasePath, advice: `add \`${base.option} ${path}/\` to its build script` };
  // What the author has set is right already, or meant.
  if (last?.includes(`${base.option} `) || last?.includes(`${base.option}=`)) return { ...noBasePath, isTold: true };
  return { ...noBasePath, option: [base.option, `${path}/`], isTold: true };
}

async function isSet(
  app: NodeApp,
  { config, key, stripped }: PathSetting,
  path: string,
  route: NonNullable<PlanRequest['route']>,
): Promise<boolean> {
  if (stripped !== route.stripped) return false;
  return setting(await app.config(config), key)?.replace(/\/+$/, '') === path;
}

function advice({ config, key, stripped }: PathSetting, path: string): string {
  const set = `set ${key} to '${path}' in ${config}`;
  return stripped ? set : `${set}, and \`strip_path = false\` in [app.config]`;
}
