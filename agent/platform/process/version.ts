/** The processes of one version: brings them up for all who wait, judges whether they start, and ends them. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Target } from '../../../shared/protocol/routes.ts';
import type { StartOptions, VersionRun } from '../platform.ts';
import type { Command } from './command.ts';
import type { ChildExit } from './guard.ts';
import type { LogRing } from './log-ring.ts';
import type { Prepare } from './prepare.ts';
import { Replica, type ReplicaDeps, type ReplicaLimits } from './replica.ts';
import { SharedTask } from '../../../shared/wait/shared-task.ts';

export interface VersionLimits extends ReplicaLimits {
  /** From SIGTERM to SIGKILL. */
  readonly stopGraceMs: number;
  /** The same for what has never answered, and so has no call to end. */
  readonly cancelGraceMs: number;
}

export interface VersionDeps extends Pick<ReplicaDeps, 'asking' | 'ports' | 'runFiles'> {
  readonly app: string;
  readonly version: number;
  readonly ring: LogRing;
  readonly limits: VersionLimits;
  /** What has to be there before the first process starts. */
  readonly prepare: Pick<Prepare, 'command'>;
  readonly onTargets: () => void;
  readonly onError: (error: AppError) => void;
}

/** The wait for the first answer. */
interface Attempt {
  readonly answered: () => void;
  readonly failed: (error: AppError) => void;
  failedStarts: number;
}

const maxFailureLogLines = 50;
/** Exits before the first answer that make a failure. */
const maxFailedStarts = 2;
/** Of sh(1): found but not executable, not found. */
const shellFailureCodes: readonly number[] = [126, 127];

export class VersionProcesses {
  readonly #deps: VersionDeps;
  readonly #ending = new Set<Promise<void>>();
  readonly #phaseListeners = new Set<StartOptions['onPhase']>();
  #replicas: readonly Replica[] = [];
  #task: SharedTask | undefined;
  #attempt: Attempt | undefined;
  #logsSince = 0;

  constructor(deps: VersionDeps) {
    this.#deps = deps;
  }

  targets(): Target[] {
    return this.#replicas.flatMap((replica) => replica.target ?? []);
  }

  /** Ids of the processes that live. */
  ids(): string[] {
    return this.#replicas.flatMap((replica) => replica.id ?? []);
  }

  /** Resolves when one target answers; what each caller gets is told at `Platform.start`. */
  async start(run: VersionRun, options: StartOptions): Promise<void> {
    for (const id of options.suspects ?? []) for (const replica of this.#replicas) replica.suspect(id);
    // One that is being undone is not joined but waited for, so that two never run into each other.
    while (this.#task?.aborted === true) await this.#task.settled;
    if (options.signal.aborted) throw new AppError('cancelled', 'the caller of the start went away');
    if (this.targets().length > 0) return;
    this.#phaseListeners.add(options.onPhase);
    try {
      this.#task ??= new SharedTask((signal) => this.#bringUp(run, signal));
      await this.#task.join(options.signal);
    } finally {
      this.#phaseListeners.delete(options.onPhase);
    }
  }

  /** The targets are gone at once; resolves when no process is left. */
  async stop(options: { readonly graceMs: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    const ended = this.#end(options);
    await this.#task?.abort(new AppError('cancelled', 'the version was stopped while it was being started'));
    await ended;
    await this.settled();
  }

  /** Resolves when every process that was told to end has ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#ending);
  }

  async #bringUp(run: VersionRun, signal: AbortSignal): Promise<void> {
    const { limits, prepare, ring } = this.#deps;
    const fresh = this.#replicas.length === 0;
    try {
      // Deferred, so that `#task` is set before anything is told.
      await Promise.resolve();
      if (fresh) {
        const command = await prepare.command(run, { signal, onPhase: (phase, message) => this.#tell(phase, message) });
        signal.throwIfAborted();
        this.#logsSince = ring.position;
        this.#tell('start', 'starting the process');
        const count = Math.max(1, run.spec.min_replicas);
        this.#replicas = Array.from({ length: count }, () => this.#createReplica(run, command));
      } else {
        for (const replica of this.#replicas) replica.wake();
      }
      await this.#firstAnswer(run, signal);
    } catch (error) {
      // A version that has answered before goes on being restarted when nobody waits any more; a failed one does not.
      if (fresh || !signal.aborted) await this.#end({ graceMs: limits.cancelGraceMs });
      if (error instanceof AppError) throw error;
      throw new AppError('platform_error', toAppError(error).message, { phase: 'start', cause: error });
    } finally {
      this.#task = undefined;
    }
  }

  async #firstAnswer(run: VersionRun, signal: AbortSignal): Promise<void> {
    if (this.targets().length > 0) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#attempt = { answered: resolve, failed: reject, failedStarts: 0 };
    const deadlineSecs = run.config.container.start_deadline_secs;
    const timer = setTimeout(() => reject(this.#notReady(run, deadlineSecs)), deadlineSecs * 1_000);
    const cancel = (): void => reject(signal.reason);
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      await promise;
    } finally {
      this.#attempt = undefined;
      clearTimeout(timer);
      signal.removeEventListener('abort', cancel);
    }
  }

  #createReplica(run: VersionRun, command: Command): Replica {
    const { app, version, ring, asking, ports, runFiles, limits, onTargets, onError } = this.#deps;
    const replica: Replica = new Replica({
      app,
      version,
      command,
      healthUrl: run.spec.health_url,
      protocol: run.spec.protocol,
      asking,
      ports,
      runFiles,
      limits,
      onLine: (instance, line) => ring.push({ instance, version, line }),
      onTarget: () => {
        onTargets();
        if (replica.target !== undefined) this.#attempt?.answered();
      },
      onFailedStart: (exit) => this.#judge(exit),
      onError: (error) => {
        onError(error);
        this.#attempt?.failed(error);
      },
    });
    return replica;
  }

  #judge(exit: ChildExit): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    attempt.failedStarts += 1;
    const how = describe(exit);
    const refused = exit.kind === 'code' ? shellFailureCodes.includes(exit.code) : exit.kind === 'error';
    if (refused) {
      attempt.failed(this.#failure('app_config_invalid', `the command could not be run: ${how}`));
    } else if (attempt.failedStarts >= maxFailedStarts) {
      attempt.failed(
        this.#failure('app_crashed', `the app ended before it answered, ${attempt.failedStarts} times: ${how}`),
      );
    } else {
      this.#tell('start', `the app ended before it answered (${how}); starting it once more`);
    }
  }

  #notReady(run: VersionRun, deadlineSecs: number): AppError {
    const what = run.spec.health_url === undefined ? 'on its PORT' : `at ${run.spec.health_url} on its PORT`;
    return this.#failure('app_not_ready', `the app did not answer ${what} within ${deadlineSecs} s`);
  }

  #failure(code: 'app_crashed' | 'app_not_ready' | 'app_config_invalid', message: string): AppError {
    const { ring, version } = this.#deps;
    const logs = ring.last(maxFailureLogLines, { version, since: this.#logsSince }).map(({ line }) => line);
    return new AppError(code, message, { phase: 'start', data: { logs } });
  }

  async #end(options: { readonly graceMs: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    const replicas = this.#replicas;
    if (replicas.length === 0) return;
    const ended = Promise.all(replicas.map((replica) => replica.stop(options))).then(() => {});
    this.#replicas = [];
    this.#ending.add(ended);
    await ended;
    this.#ending.delete(ended);
  }

  #tell(phase: Parameters<StartOptions['onPhase']>[0], message: string): void {
    for (const listener of this.#phaseListeners) listener(phase, message);
  }
}

function describe(exit: ChildExit): string {
  if (exit.kind === 'code') return `exit code ${exit.code}`;
  return exit.kind === 'signal' ? `killed by ${exit.signal}` : exit.error.message;
}
