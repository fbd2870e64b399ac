/** Turns a source tree into an image. Implemented by kaniko/ (a Job in the cluster) and delegate/ (a builder elsewhere). */
import type { Tree } from '../source/sources.ts';

export interface BuildRequest {
  /** The identity of the image: a hash of tree, Dockerfile, arguments, target and builder. Object names contain it. */
  readonly tag: string;
  /** Where to push the image: `host[:port]/project/app:<tag>`. */
  readonly image: string;
  readonly tree: Pick<Tree, 'folder' | 'digest'>;
  /** Path of a file in the tree or in `extraFiles`. */
  readonly dockerfile: string;
  /** Contents by path that are added to the tree, such as the files of a preset. */
  readonly extraFiles: Readonly<Record<string, string>>;
  readonly args: Readonly<Record<string, string>>;
  /** Build arguments whose values must appear in no command line, object or log. */
  readonly secretArgs: Readonly<Record<string, string>>;
  readonly target: string | undefined;
  /** The app and version that asked first, for labels and messages. */
  readonly app: string;
  readonly version: number;
}

export interface BuildOptions {
  /** Stops the wait. A build that can go on by itself (a Job) does, and the next `build` of its tag finds it again. */
  readonly signal: AbortSignal;
  readonly onPhase: (message: string) => void;
  /** Gets each line of the build's output: without line end, with secrets masked, at most 4 KiB long. */
  readonly onLine: (line: string) => void;
}

export interface Builder {
  /** `kaniko` or `delegate`; part of an image's identity. */
  readonly kind: string;
  /**
   * Builds and pushes an image. If an earlier agent's build of this tag is under way, it is joined.
   * @returns the digest that was pushed, `sha256:<hex>`.
   * @throws AppError with phase `build`: dockerfile_invalid, base_image_not_found, build_failed (naming the step), push_denied, registry_unavailable,
   *   build_out_of_memory, build_timeout, unschedulable, quota_exceeded, builder_unavailable; source_invalid (the context was refused),
   *   config_invalid (the builder refuses our settings, such as the token); the signal's reason.
   */
  build(request: BuildRequest, options: BuildOptions): Promise<string>;
  /** Ends the build of a tag and removes what is left of it. It is no error if there is none. */
  cancel(tag: string): Promise<void>;
  /** Tags of builds that run, whichever agent began them. */
  underWay(signal: AbortSignal): Promise<readonly string[]>;
  close(): Promise<void>;
}
