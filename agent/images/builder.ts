/** What makes an image of a tree. Implemented by kaniko/ (a Job in the cluster) and delegate/ (a builder elsewhere). */
import type { Tree } from '../source/sources.ts';

export interface BuildRequest {
  /** Identity of the image: of tree, Dockerfile, arguments, target and builder. Names are made of it. */
  readonly tag: string;
  /** Where to push: `host[:port]/project/app:<tag>`. */
  readonly image: string;
  readonly tree: Pick<Tree, 'folder' | 'digest'>;
  /** Path in the context: in the tree, or in `extraFiles`. */
  readonly dockerfile: string;
  /** Contents by path that are added to the tree: the files of a preset. */
  readonly extraFiles: Readonly<Record<string, string>>;
  readonly args: Readonly<Record<string, string>>;
  /** Build arguments that appear in no command line, object or log. */
  readonly secretArgs: Readonly<Record<string, string>>;
  readonly target: string | undefined;
  /** Who asked first; for labels and messages. */
  readonly app: string;
  readonly version: number;
}

export interface BuildOptions {
  /** Stops the wait. The build itself goes on where it can (a Job), to be found again by the next `build` of the same tag. */
  readonly signal: AbortSignal;
  readonly onPhase: (message: string) => void;
  /** Each line of the build's output, without its line end, secrets masked, at most 4 KiB. */
  readonly onLine: (line: string) => void;
}

export interface Builder {
  /** `kaniko` or `delegate`: part of an image's identity. */
  readonly kind: string;
  /**
   * Builds and pushes. A build of this tag that is under way (an agent before this one began it) is joined, not repeated.
   * @returns the digest that was pushed, `sha256:<hex>`.
   * @throws AppError with phase `build`: dockerfile_invalid, base_image_not_found, build_failed (naming the step), push_denied, registry_unavailable,
   *   build_out_of_memory, build_timeout, unschedulable, quota_exceeded, builder_unavailable; source_invalid (the context was refused),
   *   config_invalid (the builder refuses its settings, as a wrong token); the signal's reason.
   */
  build(request: BuildRequest, options: BuildOptions): Promise<string>;
  /** Ends the build of a tag and takes away what is left of it; nothing to do is no error. */
  cancel(tag: string): Promise<void>;
  /** Tags of builds that go on though this agent did not begin them. */
  underWay(signal: AbortSignal): Promise<readonly string[]>;
  close(): Promise<void>;
}
