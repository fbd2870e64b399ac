/**
 * What a preset is: from what a folder holds to a Dockerfile, or to the commands that run it without an image. Pure
 * functions over a small read interface, so that command line and agent share them. detect.ts chooses and calls them.
 */
import { AppError } from '../errors.ts';

export interface PresetTree {
  /** Whether the path is a regular file. */
  has(path: string): Promise<boolean>;
  /** Its text; undefined where there is no such file. */
  read(path: string): Promise<string | undefined>;
  /** By name; empty where there is no such folder. `''` is the root. */
  list(folder: string): Promise<readonly PresetEntry[]>;
}

export interface PresetEntry {
  readonly name: string;
  readonly kind: 'file' | 'folder';
}

export interface PresetFiles {
  readonly dockerfile: string;
  /** Further files by path, for the build context: `.dockerignore` where the tree has none. */
  readonly files: Readonly<Record<string, string>>;
  /** What was found, for people: `npm, package-lock.json`, `node server.js`. */
  readonly found: readonly string[];
}

export interface PresetCommand {
  /** Run in this order, in a copy of the tree, once; nothing to do where empty. */
  readonly install: readonly (readonly string[])[];
  /** Undefined if the tree does not say what to run, and for static files: see `serves`. */
  readonly run: readonly string[] | undefined;
  /** Static files: the first of these folders that has an index.html is to be served on PORT. */
  readonly serves?: readonly string[];
  /** Sub-folder in which `run` runs; `''` is the tree itself. */
  readonly cwd: string;
  /** Folders of programs, relative to the tree, looked at before those of PATH. */
  readonly binaries: readonly string[];
  /** For `install` and `run`. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Preset {
  /**
   * @param start `required`, or `optional` where the app has a `command` of its own.
   * @throws AppError dockerfile_invalid, source_invalid
   */
  files(tree: PresetTree, start: 'required' | 'optional'): Promise<PresetFiles>;
  /** @throws AppError dockerfile_invalid, source_invalid */
  command(tree: PresetTree): Promise<PresetCommand>;
}

/** Where apps listen unless told otherwise, as `port` of an app. */
export const defaultPort = 8080;
/** A number, not a name: with `run_as_non_root` Kubernetes must see that it is not root. */
export const appUser = '1000:1000';

/** The tree lacks what the preset needs. */
export function misfit(message: string): AppError {
  return new AppError('dockerfile_invalid', message, { phase: 'build', data: { logs: [] } });
}
