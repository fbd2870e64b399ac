/**
 * The interface of presets. A preset derives a Dockerfile, or commands that run without an image, from the contents of
 * a folder. Presets are pure functions over a small read interface, so that the command line and the agent share them.
 * detect.ts chooses and calls them.
 */
import { AppError } from '../errors.ts';

export interface PresetTree {
  /** Whether the path is a regular file. */
  has(path: string): Promise<boolean>;
  /** Reads a file as text; undefined if there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** Lists a folder, sorted by name; empty if there is no such folder. `''` is the root. */
  list(folder: string): Promise<readonly PresetEntry[]>;
}

export interface PresetEntry {
  readonly name: string;
  readonly kind: 'file' | 'folder';
}

export interface PresetFiles {
  readonly dockerfile: string;
  /** Additional files of the build context by path: `.dockerignore` if the tree has none. */
  readonly files: Readonly<Record<string, string>>;
  /** What was detected, for display: `npm, package-lock.json`, `node server.js`. */
  readonly found: readonly string[];
}

export interface PresetCommand {
  /** The commands to run once, in this order, in a copy of the tree; may be empty. */
  readonly install: readonly (readonly string[])[];
  /** The command of the app; undefined for static files (see `serves`), or if the tree does not determine it. */
  readonly run: readonly string[] | undefined;
  /** For static files: the first of these folders that has an index.html is served on PORT. */
  readonly serves?: readonly string[];
  /** The subfolder in which `run` runs; `''` is the tree itself. */
  readonly cwd: string;
  /** Folders that are searched for programs before PATH, relative to the tree. */
  readonly binaries: readonly string[];
  /** The environment of `install` and `run`. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Preset {
  /**
   * @param start `required`, or `optional` if the app has its own `command`.
   * @throws AppError dockerfile_invalid, source_invalid
   */
  files(tree: PresetTree, start: 'required' | 'optional'): Promise<PresetFiles>;
  /** @throws AppError dockerfile_invalid, source_invalid */
  command(tree: PresetTree): Promise<PresetCommand>;
}

/** The default port of apps; the `port` of an app overrides it. */
export const defaultPort = 8080;
/** The user is numeric, because with `run_as_non_root` Kubernetes has to verify that it is not root. */
export const appUser = '1000:1000';

/** The error for a tree that lacks what the preset needs. */
export function misfit(message: string): AppError {
  return new AppError('dockerfile_invalid', message, { phase: 'build', data: { logs: [] } });
}
