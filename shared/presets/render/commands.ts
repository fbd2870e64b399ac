/** Turns a plan into the commands with which the process platform runs a folder without an image. */
import type { Plan, PlanCommand, Site } from '../plan.ts';

export interface ProcessCommands {
  /** The commands to run once, in this order, in a copy of the tree, and after them those of `build`; both may be empty. */
  readonly install: readonly PlanCommand[];
  readonly build: readonly PlanCommand[];
  /** The files that `install` reads, relative to the tree; `tree` if it may read any file. */
  readonly manifests: readonly string[] | 'tree';
  /** The command of the app; undefined for a site, or if the tree does not say what to start. */
  readonly run: readonly string[] | undefined;
  /** What is served if there is no command. */
  readonly site: Site | undefined;
  /** The subfolder in which `run` runs; `''` is the tree itself. */
  readonly cwd: string;
  /** Folders that are searched for programs before PATH, relative to the tree. */
  readonly binaries: readonly string[];
  /** The environment of `install` and `build`. */
  readonly installEnv: Readonly<Record<string, string>>;
  /** The environment of `run`. */
  readonly env: Readonly<Record<string, string>>;
  /** What the author of the app should know. */
  readonly notes: readonly string[];
}

export function processCommands(plan: Plan): ProcessCommands {
  const { build, run, start } = plan;
  // Listen on loopback only, so that all calls arrive through the router.
  const hosts = Object.fromEntries(run.hostVariables.map((name) => [name, '127.0.0.1']));
  const ofProcess = (commands: readonly PlanCommand[] = []): PlanCommand[] =>
    commands.filter(({ only }) => only !== 'image');
  return {
    install: build?.isInstalled === true ? [] : ofProcess(build?.install),
    build: ofProcess(build?.build),
    manifests: build?.manifests ?? [],
    run: start.kind === 'command' ? start.words : undefined,
    site: start.kind === 'site' ? start : undefined,
    cwd: plan.dir,
    binaries: plan.binaries,
    installEnv: build?.env ?? {},
    env: { ...run.env, ...hosts },
    notes: plan.notes ?? [],
  };
}
