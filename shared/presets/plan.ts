/**
 * A plan: what a preset makes of a folder. Dockerfiles (render/dockerfile.ts) and the commands of the process platform
 * (render/commands.ts) are both made from it, so that they cannot differ. README.md says how to add a language.
 */
import { AppError } from '../errors.ts';
import type { PresetName } from '../protocol/build-settings.ts';
import type { PresetTree } from './tree.ts';

export interface Plan {
  readonly preset: PresetName;
  /** What was recognized, the most specific first, with versions: `['Next.js 15', 'pnpm 10', 'Node 22']`. */
  readonly title: readonly string[];
  /** Why, one sentence or phrase per choice, naming the file: `pnpm-lock.yaml: pnpm 10`. */
  readonly reasons: readonly string[];
  /** What the user should know about the plan, such as a file of another builder that is not used. */
  readonly notes?: readonly string[];
  /** For an app below a path: whether the plan tells the framework, or else what its author has to write, if that is known. */
  readonly path?: { readonly isTold: boolean; readonly advice?: string | undefined };
  /** The folder of the app in the tree, in which `start` runs; `''` is the tree itself. */
  readonly dir: string;
  /** Folders that are searched for programs before PATH, relative to the tree. */
  readonly binaries: readonly string[];
  /** How the tree is installed and built; undefined if nothing has to be done. */
  readonly build: BuildStage | undefined;
  readonly run: RunStage;
  readonly start: Start;
  /** Patterns of files that are left out of uploads and images, in the syntax of `.dockerignore`. */
  readonly ignored: readonly string[];
}

/** The first stage of the Dockerfile, and what the process platform runs once in a copy of the tree. */
export interface BuildStage {
  /** The base image, such as `node:24-slim`. */
  readonly image: string;
  /** Packages of the image's distribution: git, compilers. Not installed on the process platform. */
  readonly systemPackages: readonly string[];
  /** The environment of all commands. */
  readonly env: Readonly<Record<string, string>>;
  /** The files that `install` reads, copied first so that its layer is cached; `tree` if it may read any file. */
  readonly manifests: readonly string[] | 'tree';
  readonly install: readonly PlanCommand[];
  readonly build: readonly PlanCommand[];
  /** Removes what only the build needed. In images only. */
  readonly prune: readonly PlanCommand[];
  /** Whether the tree already has what `install` makes, as a developer's folder. Then the process platform skips it. */
  readonly isInstalled?: boolean;
  /** Texts of the configuration of package managers; a build argument that one of them names is needed by `install`. */
  readonly installTexts?: readonly string[];
}

export interface PlanCommand {
  /** Run without a shell; for one, the words are `sh`, `-c`, text. */
  readonly words: readonly string[];
  /** The folder to run in, relative to the tree. Default: the tree itself. */
  readonly in?: string;
  /** Where the command is needed. Default: in both. */
  readonly only?: 'image' | 'process';
  /** Shown instead of the words. */
  readonly title?: string;
}

/** The last stage of the Dockerfile, and the process of the process platform. */
export interface RunStage {
  /** The base image; `scratch` for an empty one. */
  readonly image: string;
  readonly systemPackages: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Variables that get the address to listen on: 0.0.0.0 in images, the loopback address on the process platform. */
  readonly hostVariables: readonly string[];
  /** What the last stage takes of the build stage, relative to the tree; `''` is everything. */
  readonly fromBuild: readonly string[];
  /** What the last stage takes of the tree as it was uploaded; `''` is everything. */
  readonly fromTree: readonly string[];
  /** Absolute paths of the build stage that the last stage has too; they do not exist on the process platform. */
  readonly fromBuildImage?: readonly { readonly from: string; readonly to: string }[];
  /** Prepares the base image before anything is copied: extensions, the configuration of a server. In images only. */
  readonly prepare?: readonly PlanCommand[];
}

export type Start =
  /** `title` is shown instead of the words. */
  | { readonly kind: 'command'; readonly words: readonly string[]; readonly title?: string }
  | Site
  /** The tree does not say what to start. `missing` says what to add, unless the app has a command of its own. */
  | { readonly kind: 'none'; readonly missing: string };

/** Files that are served, by nginx or by the static server of the process platform. */
export interface Site {
  readonly kind: 'site';
  /** The first of these folders that has an index.html after the build is the site. Relative to the tree. */
  readonly folders: readonly string[];
  /** Whether navigations to paths without a file get index.html; `auto`: if the site has one page and no 404.html. */
  readonly spa: boolean | 'auto';
}

/** Everything beside the tree that a plan depends on. */
export interface PlanRequest {
  readonly settings: PlanSettings;
  /** The names of build arguments and build secrets. */
  readonly args: readonly string[];
  readonly secrets: readonly string[];
  /** The app has its own `command`, so the plan needs no start. */
  readonly hasCommand: boolean;
  /** The path of the app as browsers see it, and whether the router strips it; undefined if it is not known. */
  readonly route?: { readonly path: string; readonly stripped: boolean } | undefined;
}

/** The keys of `[app.build]` that change a plan, and of `[build]` in a holdfast.toml. */
export interface PlanSettings {
  readonly preset?: PresetName | undefined;
  /** Versions of languages by their key: `{ node: '22' }`. */
  readonly versions: Readonly<Record<string, string>>;
  readonly install?: string | undefined;
  readonly build?: string | undefined;
  readonly start?: string | undefined;
  readonly output?: string | undefined;
  readonly systemPackages: readonly string[];
  readonly spa?: boolean | undefined;
  readonly dir?: string | undefined;
}

/** One language. */
export interface Preset {
  /** @throws AppError dockerfile_invalid if the tree lacks what the preset needs, source_invalid if a manifest cannot be read. */
  plan(tree: PresetTree, request: PlanRequest): Promise<Plan>;
}

/** The default port of apps; the `port` of an app overrides it. */
export const defaultPort = 8080;
/** The user is numeric, because with `run_as_non_root` Kubernetes has to verify that it is not root. */
export const appUser = '1000:1000';

export const emptyRequest: PlanRequest = {
  settings: { versions: {}, systemPackages: [] },
  args: [],
  secrets: [],
  hasCommand: false,
};

export const command = (...words: readonly string[]): PlanCommand => ({ words });

/** The error for a tree that lacks what the preset needs. */
export function misfit(message: string): AppError {
  return new AppError('dockerfile_invalid', message, { phase: 'build', data: { logs: [] } });
}
