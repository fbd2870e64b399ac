/** Images of sources: found in the registry, or built, once for all who want the same. */
import { AppError } from '../../shared/errors.ts';
import type { BuildLogLine, BuildView, ImageView } from '../../shared/protocol/views.ts';
import type { PrepareOptions, VersionRun } from '../platform/platform.ts';

export interface BuiltImage {
  readonly imageTag: string;
  readonly imageDigest: string;
}

export interface Images {
  /**
   * The image of the version's source. Calls for the same image share one build; it is cancelled when the signal of each of them has aborted,
   * unless `releaseLead` was called before. Failures that pass (registry, builder, git server away) are tried again for a while.
   * @throws AppError as Platform.prepare does.
   */
  ensure(run: VersionRun, options: PrepareOptions): Promise<BuiltImage>;
  /** `host[:port]/project/app`, what digests of built images are appended to. */
  readonly repository: string;
  /** Builds that have their turn, and that wait for it. */
  readonly running: number;
  readonly queued: number;
  /** This agent leads: builds that an agent before it began and that none of these versions wants are cancelled. */
  adopt(runs: readonly VersionRun[], signal: AbortSignal): Promise<void>;
  /** The lead is lost or the agent stops: nothing is cancelled or begun any more. */
  releaseLead(): void;
  builds(query: { readonly app?: string | undefined; readonly limit: number }): Promise<BuildView[]>;
  /** Lines of the newest build of the app's version, then, with follow, further ones until it ends. @returns its state then. @throws AppError build_not_found */
  logs(
    query: {
      readonly app: string;
      readonly version?: number | undefined;
      readonly tail: number;
      readonly follow: boolean;
    },
    emit: (line: BuildLogLine) => Promise<void>,
    signal: AbortSignal,
  ): Promise<BuildView>;
  list(query: { readonly app?: string | undefined }, signal: AbortSignal): Promise<ImageView[]>;
  prune(
    options: {
      readonly keep?: number | undefined;
      readonly dryRun: boolean;
      /** Whom the events name. */
      readonly actor?: string | undefined;
    },
    signal: AbortSignal,
  ): Promise<ImageView[]>;
  close(): Promise<void>;
}

/**
 * Images where nothing is built: the process platform, and `[builder] mode = "none"`.
 * @param repository where images were built before: versions that have one still run it.
 */
export function createNoImages(repository = ''): Images {
  const message = 'no builder is configured here: set [builder] mode, or give the app an `image`';
  return {
    repository,
    running: 0,
    queued: 0,
    ensure: () => Promise.reject(new AppError('builder_unavailable', message, { phase: 'build' })),
    adopt: () => Promise.resolve(),
    releaseLead: () => undefined,
    builds: () => Promise.resolve([]),
    logs: ({ app }) =>
      Promise.reject(new AppError('build_not_found', `no image was built for ${app}: nothing is built here`)),
    list: () => Promise.resolve([]),
    prune: () => Promise.resolve([]),
    close: () => Promise.resolve(),
  };
}
