/** What `[app.build]` and the `[build]` of a holdfast.toml in the folder change of a plan. */
import { parse } from 'smol-toml';
import { z } from 'zod';
import { AppError } from '../errors.ts';
import { type AppSpec, parseRoute } from '../protocol/app-spec.ts';
import { type BuildSettings, buildSettings } from '../protocol/build-settings.ts';
import { type Plan, type PlanCommand, type PlanRequest, type PlanSettings, type Start, misfit } from './plan.ts';
import { procfileLine, shellStart } from './procfile.ts';
import { siteCheck } from './render/site.ts';
import { at, type PresetTree } from './tree.ts';

const settingsFile = 'holdfast.toml';
/** A line of a Procfile that only runs the start script of package.json. */
const scriptLine = /^(?:npm|yarn|pnpm|bun)(?: run)? start$/;

/** Returns the settings of the schema in the form that presets use. */
export function planSettings(build: BuildSettings): PlanSettings {
  const { preset, install, build: buildCommand, start, output, system_packages, spa, dir, ...versions } = build;
  const named = Object.entries(versions).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as const],
  );
  return {
    preset,
    install,
    build: buildCommand,
    start,
    output,
    spa,
    dir,
    versions: Object.fromEntries(named),
    systemPackages: system_packages ?? [],
  };
}

/** Adds the settings of the folder's holdfast.toml; those of the app win. @throws AppError source_invalid. */
export async function readSettings(tree: PresetTree, own: PlanSettings): Promise<PlanSettings> {
  const text = await tree.read(settingsFile);
  const file = text === undefined ? undefined : planSettings(parseSettings(text));
  if (file === undefined) return own;
  const set = Object.entries(own).filter(([, value]) => value !== undefined);
  return {
    ...file,
    ...(Object.fromEntries(set) as unknown as PlanSettings),
    versions: { ...file.versions, ...own.versions },
    systemPackages: own.systemPackages.length > 0 ? own.systemPackages : file.systemPackages,
  };
}

function parseSettings(text: string): BuildSettings {
  try {
    return z.object({ build: buildSettings.prefault({}) }).parse(parse(text)).build;
  } catch (error) {
    const why =
      error instanceof z.ZodError ? z.prettifyError(error) : error instanceof Error ? error.message : String(error);
    throw new AppError('source_invalid', `${settingsFile} is not valid: ${why}`, { phase: 'source', cause: error });
  }
}

/** Returns the plan with the Procfile of the tree and the settings applied. */
export async function adjusted(tree: PresetTree, plan: Plan, { settings }: PlanRequest): Promise<Plan> {
  const { install, build, systemPackages } = settings;
  const shell = (text: string, folder?: string): PlanCommand[] =>
    text === ''
      ? []
      : [{ words: ['sh', '-c', text], ...(folder === undefined || folder === '' ? {} : { in: folder }) }];
  const stage = plan.build ?? {
    image: plan.run.image,
    systemPackages: [],
    env: {},
    manifests: 'tree' as const,
    install: [],
    build: [],
    prune: [],
  };
  const changed = install !== undefined || build !== undefined;
  const start = await startOf(tree, plan, settings);
  const isBuilt = plan.build !== undefined || changed;
  const check =
    isBuilt && start.kind === 'site' ? [{ words: ['sh', '-c', siteCheck(start)], title: 'look for the site' }] : [];
  return {
    ...plan,
    build: {
      ...stage,
      systemPackages: [...new Set([...stage.systemPackages, ...systemPackages])],
      // A command of the user may read any file.
      ...(install === undefined ? {} : { install: shell(install), manifests: 'tree' as const, isInstalled: false }),
      build: [...(build === undefined ? stage.build : shell(build, plan.dir)), ...check],
    },
    ...(plan.build === undefined && !changed ? { build: undefined } : {}),
    run: {
      ...plan.run,
      systemPackages: [...new Set([...plan.run.systemPackages, ...systemPackages])],
      ...(changed && plan.build === undefined ? { fromBuild: [''], fromTree: [] } : {}),
      ...(build !== undefined && !plan.run.fromBuild.includes('') ? { fromBuild: [''], fromTree: [] } : {}),
    },
    start,
  };
}

async function startOf(tree: PresetTree, plan: Plan, settings: PlanSettings): Promise<Start> {
  const { start, output, spa } = settings;
  if (start !== undefined) return { kind: 'command', words: shellStart(start) };
  if (output !== undefined) {
    const folder = at(plan.dir, output.replace(/^\.\//, '').replace(/\/+$/, ''));
    const isBuilt = plan.build !== undefined || settings.build !== undefined || settings.install !== undefined;
    return { kind: 'site', folders: [folder], spa: spa ?? (isBuilt ? 'auto' : false) };
  }
  const line = await procfileLine(tree, plan.dir);
  // The plan knows better than a package manager in front of the app what the script starts.
  const isScript = line !== undefined && plan.start.kind === 'command' && scriptLine.test(line);
  if (line !== undefined && !isScript && plan.start.kind !== 'site')
    return { kind: 'command', words: shellStart(line) };
  if (plan.start.kind === 'site') return { ...plan.start, ...(spa === undefined ? {} : { spa }) };
  if (spa === true) throw misfit('`spa` is for sites: the app starts a server, which answers navigations itself');
  return plan.start;
}

/** What a plan depends on of an app. */
export interface PlannedApp extends Pick<AppSpec, 'build' | 'build_secrets' | 'command'> {
  /** Its route, if that is known. */
  readonly path?: string | undefined;
  readonly config?: { readonly strip_path?: boolean | undefined } | undefined;
}

/** The plan's inputs of an app. @param stripped whether the router strips the path of its route. */
export function planRequest(spec: PlannedApp, stripped = spec.config?.strip_path ?? true): PlanRequest {
  const path = spec.path === undefined ? '/' : (parseRoute(spec.path)?.path ?? '/');
  const { dockerfile: _dockerfile, args, target: _target, ...settings } = spec.build;
  return {
    settings: planSettings(settings),
    args: Object.keys(args),
    secrets: Object.keys(spec.build_secrets),
    hasCommand: spec.command !== undefined,
    route: path === '/' ? undefined : { path, stripped },
  };
}
