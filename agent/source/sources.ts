/** The interface to git repositories and uploads. Only the process platform has folders as sources, and handles them itself. */
import type { AppSpec } from '../../shared/protocol/app-spec.ts';

/** The keys of an app that say where its source is. */
export type SourceSpec = Pick<AppSpec, 'source' | 'ref' | 'dir' | 'git_auth'>;

/** A source on this agent's disk, checked and within the bounds: regular files, folders, and symlinks that stay inside. */
export interface Tree {
  /** The absolute path, with `dir` of the spec applied. Its content must not be changed. */
  readonly folder: string;
  /** `sha256:<hex>` of paths, kinds, executable bits, contents and link targets: the same tree has the same digest wherever it came from. */
  readonly digest: string;
  /** Allows the tree to be removed from disk. Calling it again is harmless. */
  release(): void;
}

export interface Sources {
  /**
   * The digest of the source now: `git:<commit>` of the ref, or `sha256:<hex>` of an upload.
   * @throws AppError source_not_found, source_denied, source_unavailable, source_invalid, source_unsupported; the signal's reason.
   */
  resolve(spec: SourceSpec, signal: AbortSignal): Promise<string>;
  /**
   * The tree of a digest that `resolve` returned, fetched unless it is on disk. Concurrent fetches of the same tree are shared.
   * @throws AppError as `resolve`, and source_invalid, naming the path and the bound, for a source that is hostile or over a bound.
   */
  tree(spec: SourceSpec, digest: string, signal: AbortSignal): Promise<Tree>;
  close(): Promise<void>;
}
