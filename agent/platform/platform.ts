/**
 * Where apps run, as the version engine sees it. Implemented by kubernetes/ and process/; test/contract runs the same suite on both.
 * Every method is idempotent: a call that a crash cut short is simply made again.
 */
import type { AppConfig } from '../../shared/protocol/app-config.ts';
import type { AppSpec } from '../../shared/protocol/app-spec.ts';
import type { EnsureProgress } from '../../shared/protocol/methods.ts';
import type { Target } from '../../shared/protocol/routes.ts';
import type { LogLine } from '../../shared/protocol/views.ts';

/** The exact image or source that a version runs; members are null as long as they are not known. */
export interface Pin {
  readonly imageDigest: string | null;
  /** `git:<commit>`, or `sha256:<hex>` of an upload or a folder. */
  readonly sourceDigest: string | null;
  /** The tag of the image that is built from the source. */
  readonly imageTag: string | null;
}

/** What `Platform.pin` finds. */
export interface FoundPin extends Pin {
  /** For people: what a snapshot of a folder has taken and what it has left out. */
  readonly sourceSummary?: string | undefined;
}

export const noPin: Pin = { imageDigest: null, sourceDigest: null, imageTag: null };

/** One version, with everything that is needed to run it. */
export interface VersionRun {
  readonly app: string;
  readonly version: number;
  /** The spec, with the values of its secrets. */
  readonly spec: AppSpec;
  /** The defaults of `[app_config]` with the overrides of the app. */
  readonly config: AppConfig;
  readonly pin: Pin;
}

export type OnPhase = (phase: EnsureProgress['phase'], message: string, queue?: EnsureProgress['queue']) => void;

export interface PrepareOptions {
  /**
   * Aborts when nobody wants the version any longer (superseded, deleted): a build that no other version wants is cancelled then. A caller
   * that leaves does not abort it, nor does an agent that stops or loses the lead (the platform has released the lead by then).
   */
  readonly signal: AbortSignal;
  readonly onPhase: OnPhase;
}

export interface StartOptions {
  readonly signal: AbortSignal;
  readonly onPhase: OnPhase;
  /** Ids of targets that are said to refuse connections: they are probed again before they are trusted. */
  readonly suspects?: readonly string[];
}

export interface Platform {
  readonly name: 'kubernetes' | 'process';

  /**
   * Looks up what the spec names, when it is declared: the digest of an image at the registry, the commit of a git ref, a snapshot of a
   * folder. Builds nothing.
   * @throws AppError image_not_found, image_denied, image_invalid, registry_unavailable, source_*.
   */
  pin(spec: AppSpec, signal: AbortSignal): Promise<FoundPin>;

  /**
   * Makes what a version without an image digest runs, before its start. On Kubernetes the image is built unless the registry has it. Never
   * called for a version whose digest is known: a wake asks neither registry nor source.
   * @returns the pin with what was found; `imageDigest` stays null if nodes are to pull by tag.
   * @throws AppError image_*, registry_unavailable, source_*, dockerfile_invalid, base_image_not_found, build_*, push_denied,
   *   builder_unavailable, each with phase and, in `data.logs`, the last lines; the signal's reason.
   */
  prepare(run: VersionRun, options: PrepareOptions): Promise<Pin>;

  /**
   * Makes the version run, and resolves as soon as one target answers (`health_url` with 2xx or 3xx, else any answer by HTTP). If it runs already,
   * resolves at once, without registry or database. Keeps it running (drift repair) until stop, discard or remove.
   * @throws AppError with phase and, in `data.logs` (string[]), the last log lines: image_*, app_crashed, app_not_ready
   *   (after container.start_deadline_secs), app_config_invalid, unschedulable, quota_exceeded, platform_error; cancelled.
   */
  start(run: VersionRun, options: StartOptions): Promise<void>;

  /** The targets of the version that answer now. Never waits. */
  targets(app: string, version: number): readonly Target[];

  /** Whether `adopt` found anything of the version that may run. */
  mayRun(app: string, version: number): boolean;

  /** @param listener called after each change of any version's targets. @returns what unsubscribes it. */
  onTargets(listener: (app: string, version: number) => void): () => void;

  /**
   * Points the app's stable address (the Service) to the version, and resolves when it leads to no other version. May be called before the
   * version runs.
   */
  switchTo(run: VersionRun, signal: AbortSignal): Promise<void>;

  /** Scales the version to zero. Its objects stay, so that a start is quick. Its targets are gone when the promise resolves. */
  stop(app: string, version: number, signal: AbortSignal): Promise<void>;

  /** Stops the version and removes its own objects. */
  discard(app: string, version: number, signal: AbortSignal): Promise<void>;

  /** Removes every object of the app, volumes only when asked. @returns what was removed, as `Kind/name`. */
  remove(app: string, options: { readonly volumes: boolean; readonly signal: AbortSignal }): Promise<string[]>;

  /**
   * Called when the agent has become leader, with every version that may run (live, pending and previous of each app). Takes charge of what
   * runs, so that `targets` returns what answers, and removes objects of apps and versions that are not named.
   */
  adopt(runs: readonly VersionRun[], signal: AbortSignal): Promise<void>;

  /** Log lines of the app's instances, of one version or of all. Ends when they end or, with `follow`, when the signal aborts. */
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
