/**
 * Where apps run, as the version engine sees it. Implemented by kubernetes/ and process/; test/contract holds both to
 * the same suite. Every method is idempotent: a call cut by a crash is simply made again.
 */
import type { AppConfig } from '../../shared/protocol/app-config.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { Target } from '../../shared/protocol/routes.ts';
import type { LogLine } from '../../shared/protocol/views.ts';

/** What exactly a version runs; null where not known (yet). */
export interface Pin {
  readonly imageDigest: string | null;
  /** `git:<commit>`, or `sha256:<hex>` of an upload or a folder. */
  readonly sourceDigest: string | null;
  /** Tag of the image that was built of the source. */
  readonly imageTag: string | null;
}

export const noPin: Pin = { imageDigest: null, sourceDigest: null, imageTag: null };

/** One version, ready to run. */
export interface VersionRun {
  readonly app: string;
  readonly version: number;
  /** With the values of its secrets. */
  readonly spec: AppSpec;
  /** `[app_config]` with the overrides of the app. */
  readonly config: AppConfig;
  readonly pin: Pin;
}

export type OnPhase = (phase: EnsureProgress['phase'], message: string, queue?: EnsureProgress['queue']) => void;

export interface PrepareOptions {
  /**
   * Nobody wants it any more (superseded, deleted): a build that no other version wants is cancelled. A caller that leaves
   * does not abort it, and neither does an agent that stops or loses the lead (the platform has let go by then).
   */
  readonly signal: AbortSignal;
  readonly onPhase: OnPhase;
}

export interface StartOptions {
  readonly signal: AbortSignal;
  readonly onPhase: OnPhase;
  /** Targets said to refuse connections: not trusted until probed again. */
  readonly suspects?: readonly string[];
}

export interface Platform {
  readonly name: 'kubernetes' | 'process';

  /**
   * Finds what the spec names, when it is declared: the digest of the image by asking the registry; the commit of a git ref;
   * a folder by taking a snapshot of it. Builds nothing.
   * @throws AppError image_not_found, image_denied, image_invalid, registry_unavailable, source_*.
   */
  pin(spec: AppSpec, signal: AbortSignal): Promise<Pin>;

  /**
   * Before a start of a version without an image digest: makes what it runs. On Kubernetes the image is built, unless the
   * registry has it. Never called for a version whose digest is known: a wake touches neither registry nor source.
   * @returns the pin with what was found out; `imageDigest` may stay null where nodes shall try by tag.
   * @throws AppError image_*, registry_unavailable, source_*, dockerfile_invalid, base_image_not_found, build_*, push_denied,
   *   builder_unavailable, each with phase and, in `data.logs`, the last lines; the signal's reason.
   */
  prepare(run: VersionRun, options: PrepareOptions): Promise<Pin>;

  /**
   * Makes the version run and resolves as soon as one target answers (`health_url` 2xx–3xx, else an open port).
   * Already running: resolves at once, without registry or database. Keeps it so (drift repair) until stop, discard or remove.
   * @throws AppError with phase and, in `data.logs` (string[]), the last log lines: image_*, app_crashed, app_not_ready
   *   (after container.start_deadline_secs), app_config_invalid, unschedulable, quota_exceeded, platform_error; cancelled.
   */
  start(run: VersionRun, options: StartOptions): Promise<void>;

  /** Targets of the version that answer now. Never waits. */
  targets(app: string, version: number): readonly Target[];

  /** Whether anything of the version may run, as found by `adopt`. */
  mayRun(app: string, version: number): boolean;

  /** Called after each change of any version's targets; returns the unsubscribe. */
  onTargets(listener: (app: string, version: number) => void): () => void;

  /**
   * Points the app's stable address (the Service) to the version; resolves when it leads to no other version any more.
   * May be called before the version runs.
   */
  switchTo(run: VersionRun, signal: AbortSignal): Promise<void>;

  /** To zero; the version's objects stay, so that start is quick. Its targets are gone when it resolves. */
  stop(app: string, version: number, signal: AbortSignal): Promise<void>;

  /** Stops the version and removes its own objects. */
  discard(app: string, version: number, signal: AbortSignal): Promise<void>;

  /** Removes every object of the app; what was removed, as `Kind/name`. Volumes only when asked. */
  remove(app: string, options: { readonly volumes: boolean; readonly signal: AbortSignal }): Promise<string[]>;

  /**
   * After the agent became leader: given every version that may run (live, pending and previous of each app), looks at what
   * does, takes charge of it (so that `targets` tells what answers) and removes objects of apps and versions that are not
   * named.
   */
  adopt(runs: readonly VersionRun[], signal: AbortSignal): Promise<void>;

  /** Lines of the app's instances, of one version or all; ends when they end or, with follow, at the signal. */
  logs(
    query: {
      readonly app: string;
      readonly version?: number | undefined;
      readonly tail: number;
      readonly follow: boolean;
    },
    signal: AbortSignal,
  ): AsyncIterable<LogLine>;

  /** Stops watching; the process platform also stops its children. */
  close(): Promise<void>;
}
