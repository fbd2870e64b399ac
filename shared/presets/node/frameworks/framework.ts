/** What a framework of Node.js says about an app. Its row is in frameworks.ts. */
import type { PlanCommand } from '../../plan.ts';
import type { NodeApp } from '../app.ts';

export interface Framework {
  /** For display; the version of `packages[0]` is added. */
  readonly name: string;
  /** The app depends on one of these packages. */
  readonly packages: readonly string[];
  /** The start scripts that are the framework's own, so that its output is started instead. */
  readonly own: RegExp;
  /** Returns undefined if the app uses the package in another way. */
  readonly plan: (app: NodeApp) => Promise<FrameworkPlan | undefined>;
}

export interface FrameworkPlan {
  /** Builds if there is no build script. */
  readonly build?: readonly string[];
  /** Replaces a build script too, where the script would not make what is started. */
  readonly afterBuild?: readonly PlanCommand[];
  /** The command, run in the folder of the app; undefined for a site, or if only a start script can say it. */
  readonly start?: readonly string[] | undefined;
  /** The folders in which the site may be after the build, relative to the app. */
  readonly site?: readonly string[];
  readonly spa?: boolean;
  /** Whether `start` is right even if the app has a start script of the framework's own command. */
  readonly overrides?: boolean;
  readonly env?: Readonly<Record<string, string>>;
  readonly buildEnv?: Readonly<Record<string, string>>;
  readonly hostVariables?: readonly string[];
  /** If the output needs no node_modules: the paths that the image has, relative to the app. */
  readonly standalone?: readonly string[];
  readonly ignored?: readonly string[];
  readonly notes?: readonly string[];
  /** How the framework learns the path of an app below one. */
  readonly basePath?: PathOption | PathVariables | PathSetting;
  /** A file that exists only after a build with the right settings; its absence is told with `missing`. */
  readonly expects?: { readonly file: string; readonly missing: string };
}

/** An option of the framework's build command, for a path that the router strips. */
export interface PathOption {
  readonly option: string;
  readonly stripped: true;
}

export interface PathVariables {
  /** @param path without a slash at its end. */
  readonly variables: (path: string) => Readonly<Record<string, string>>;
  /** Which step reads them. */
  readonly at: 'build' | 'run';
  /** Whether the framework expects the router to strip the path. */
  readonly stripped: boolean;
}

/** Only the author can set it. */
export interface PathSetting {
  /** The configuration file without its ending. */
  readonly config: string;
  readonly key: string;
  readonly stripped: boolean;
}

export const pathOption = (option: string): PathOption => ({ option, stripped: true });
/** @param stripped whether the framework expects the router to strip the path; a site does. */
export const pathSetting = (config: string, key: string, stripped = true): PathSetting => ({ config, key, stripped });
