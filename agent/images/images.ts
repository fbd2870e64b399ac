/** Images of sources: found in the registry, or built once for all versions that want the same one. */
import { AppError } from '../../shared/errors.ts';
import type { AppConfig } from '../../shared/protocol/app-config.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { BuildLogLine, BuildView, ImageView } from '../../shared/protocol/views.ts';

/** A version that runs an image of its source. */
export interface SourceVersion {
  readonly app: string;
  readonly version: number;
  /** The spec with the values of its secrets. */
  readonly spec: AppSpec;
  /** The defaults of every app with what this one overrides. */
  readonly config?: Pick<AppConfig, 'strip_path'>;
  /** What is known from earlier attempts; null if it is unknown. */
  readonly pin: {
    readonly sourceDigest: string | null;
    readonly imageTag: string | null;
    readonly imageDigest: string | null;
  };
}

export type OnPhase = (phase: EnsureProgress['phase'], message: string, queue?: EnsureProgress['queue']) => void;

export interface ImageOptions {
  /** Aborts when the version is no longer wanted. */
  readonly signal: AbortSignal;
  readonly onPhase: OnPhase;
}

export interface BuiltImage {
  readonly imageTag: string;
  readonly imageDigest: string;
}

export interface Images {
  /**
   * Finds or builds the image of the version's source. Calls for the same image share one build, which is cancelled when the
   * signals of all of them have aborted, unless `releaseLead` was called before. While registry, builder or git server are
   * unavailable, it is tried again for a while.
   * @throws AppError as Platform.prepare does.
   */
  ensure(version: SourceVersion, options: ImageOptions): Promise<BuiltImage>;
  /** `host[:port]/project/app`; digests of built images are appended to it. */
  readonly repository: string;
  /** The number of builds that run. */
  readonly running: number;
  /** The number of builds that wait for their turn. */
  readonly queued: number;
  /** This agent leads now. Builds of the agent before it are cancelled unless one of these versions wants them. */
  adopt(versions: readonly SourceVersion[], signal: AbortSignal): Promise<void>;
  /** The lead is lost or the agent stops: from now on nothing is begun or cancelled. */
  releaseLead(): void;
  /** Newest first. */
  builds(query: { readonly app?: string | undefined; readonly limit: number }): Promise<BuildView[]>;
  /**
   * Emits the last lines of the newest build of the app or version; with `follow` also further ones, until it ends.
   * @returns the state of the build then. @throws AppError build_not_found.
   */
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
  /** The images in the registry that this installation knows. */
  list(query: { readonly app?: string | undefined }, signal: AbortSignal): Promise<ImageView[]>;
  /** Deletes images that no version needs. @returns them; with `dryRun`, those that would be deleted. */
  prune(
    options: {
      /** Keep the images of this many newest versions of each app; without it the configured number. */
      readonly keep?: number | undefined;
      readonly dryRun: boolean;
      /** Named in the events. */
      readonly actor?: string | undefined;
    },
    signal: AbortSignal,
  ): Promise<ImageView[]>;
  close(): Promise<void>;
}

/**
 * Images where nothing is built: the process platform, and `[builder] mode = "none"`.
 * @param repository is where images were built before; versions that have one still run it.
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
