/** Turns a plan into the commands with which the process platform runs a folder without an image. */
import type { Plan, PlanCommand, Site } from '../plan.ts';

export interface ProcessCommands {
  /** The commands to run once, in this order, in a copy of the tree; may be empty. */
  readonly install: readonly PlanCommand[];
  /** The command of the app; undefined for a site, or if the tree does not say what to start. */
  readonly run: readonly string[] | undefined;
  /** What is served if there is no command. */
  readonly site: Site | undefined;
  /** The subfolder in which `run` runs; `''` is the tree itself. */
  readonly cwd: string;
  /** Folders that are searched for programs before PATH, relative to the tree. */
  readonly binaries: readonly string[];
  /** The environment of `install`. */
  readonly installEnv: Readonly<Record<string, string>>;
  /** The environment of `run`. */
  readonly env: Readonly<Record<string, string>>;
}

export function processCommands(plan: Plan): ProcessCommands {
  const { build, run, start } = plan;
  // Listen on loopback only, so that all calls arrive through the router.
  const hosts = Object.fromEntries(run.hostVariables.map((name) => [name, '127.0.0.1']));
  const install = build === undefined ? [] : [...(build.isInstalled === true ? [] : build.install), ...build.build];
  return {
    install: install.filter(({ only }) => only !== 'image'),
    run: start.kind === 'command' ? start.words : undefined,
    site: start.kind === 'site' ? start : undefined,
    cwd: plan.dir,
    binaries: plan.binaries,
    installEnv: build?.env ?? {},
    env: { ...run.env, ...hosts },
  };
}
