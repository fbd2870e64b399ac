/** Where the trees of sources come from: git repositories and uploads. Folders are the process platform's own matter. */
import type { AppSpec } from '../../shared/protocol/app-spec.ts';

/** The keys of an app that say where its source is. */
export type SourceSpec = Pick<AppSpec, 'source' | 'ref' | 'dir' | 'git_auth'>;

/** A source on this agent's disk: regular files, folders and symlinks that stay inside, checked and within the bounds. */
export interface Tree {
  /** Absolute path; `dir` of the spec already applied. Nobody changes what is in it. */
  readonly folder: string;
  /** `sha256:<hex>` of paths, kinds, executable bits, contents and link targets: the same tree has the same digest wherever it came from. */
  readonly digest: string;
  /** Gives the place on disk back; more than once does no harm. */
  release(): void;
}

export interface Sources {
  /**
   * What the source is now: `git:<commit>` of the ref, or `sha256:<hex>` of an upload.
   * @throws AppError source_not_found, source_denied, source_unavailable, source_invalid, source_unsupported; the signal's reason.
   */
  resolve(spec: SourceSpec, signal: AbortSignal): Promise<string>;
  /**
   * The tree of what `resolve` gave, fetched unless it is on disk. Fetches of the same thing are shared.
   * @throws AppError as `resolve`, and source_invalid for what is hostile or over a bound (naming the path and the bound).
   */
  tree(spec: SourceSpec, digest: string, signal: AbortSignal): Promise<Tree>;
  close(): Promise<void>;
}
