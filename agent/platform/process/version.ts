/** The processes of one version: starts them for all callers that wait, judges the start, and ends them. */
import { AppError, toAppError } from '../../../shared/errors.ts';
import type { Target } from '../../../shared/protocol/routes.ts';
import { deadlineSignal, untilAborted } from '../../../shared/wait/abort.ts';
import { SharedTask } from '../../../shared/wait/shared-task.ts';
import type { StartOptions, VersionRun } from '../platform.ts';
import { wordsOfListener } from '../listening.ts';
import { readinessOf, wordsOfOutcome } from '../readiness.ts';
import type { Command } from './command.ts';
import type { ChildExit } from './guard.ts';
import { ofVersion, type LogRing } from './log-ring.ts';
import type { Prepare } from './prepare.ts';
import { Replica, type NoAnswer, type ReplicaDeps, type ReplicaLimits } from './replica.ts';

export interface VersionLimits extends ReplicaLimits {
  /** Time from SIGTERM to SIGKILL. */
  readonly stopGraceMs: number;
  /** The same for a version that has never answered, and so has no calls in flight. */
  readonly cancelGraceMs: number;
}

export interface VersionDeps extends Pick<ReplicaDeps, 'probing' | 'ports' | 'runFiles' | 'clock'> {
  readonly app: string;
  readonly version: number;
  readonly ring: LogRing;
  readonly limits: VersionLimits;
  /** Makes what must exist before the first process starts. */
  readonly prepare: Pick<Prepare, 'command'>;
  readonly onTargets: () => void;
  readonly onError: (error: AppError) => void;
}

/** A start that waits for the first answer. */
interface Attempt {
  readonly answered: () => void;
  readonly failed: (error: AppError) => void;
  failedStarts: number;
}

const maxFailureLogLines = 50;
/** A start fails after this many exits before the first answer. */
const maxFailedStarts = 2;
/** Exit codes of sh(1): found but not executable, not found. */
const shellFailureCodes: readonly number[] = [126, 127];

export class VersionProcesses {
  readonly #deps: VersionDeps;
  readonly #ending = new Set<Promise<void>>();
  #replicas: readonly Replica[] = [];
  #task: SharedTask<void, Parameters<StartOptions['onPhase']>> | undefined;
  #attempt: Attempt | undefined;
  #logsSince = 0;

  constructor(deps: VersionDeps) {
    this.#deps = deps;
  }

  targets(): Target[] {
    return this.#replicas.flatMap((replica) => replica.target ?? []);
  }

  /** The ids of the running processes. */
  ids(): string[] {
    return this.#replicas.flatMap((replica) => replica.id ?? []);
  }

  /** Resolves when one target answers. @throws as `Platform.start` */
  async start(run: VersionRun, options: StartOptions): Promise<void> {
    for (const id of options.suspects ?? []) for (const replica of this.#replicas) replica.suspect(id);
    // A start that is being undone cannot be joined: wait for its end, so that two starts never overlap.
    while (this.#task?.aborted === true) await this.#task.settled;
    if (options.signal.aborted) throw new AppError('cancelled', 'the caller of the start went away');
    if (this.targets().length > 0) return;
    this.#task ??= new SharedTask((signal) => this.#bringUp(run, signal));
    await this.#task.join(options.signal, (phase) => options.onPhase(...phase));
  }

  /** Removes the targets at once; resolves when no process is left. */
  async stop(options: { readonly graceMs: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    const ended = this.#end(options);
    await this.#task?.abort(new AppError('cancelled', 'the version was stopped while it was being started'));
    await ended;
    await this.settled();
  }

  /** Resolves when every process that was asked to end has done so. */
  async settled(): Promise<void> {
    await Promise.all(this.#ending);
  }

  async #bringUp(run: VersionRun, signal: AbortSignal): Promise<void> {
    const { limits, prepare, ring } = this.#deps;
    const fresh = this.#replicas.length === 0;
    try {
      if (fresh) {
        const command = await prepare.command(run, { signal, onPhase: (...phase) => this.#task?.progress(phase) });
        signal.throwIfAborted();
        this.#logsSince = ring.position;
        this.#task?.progress(['start', 'starting the process']);
        const count = Math.max(1, run.spec.min_replicas);
        this.#replicas = Array.from({ length: count }, () => this.#createReplica(run, command));
      } else {
        for (const replica of this.#replicas) replica.wake();
      }
      await this.#firstAnswer(run, signal);
    } catch (error) {
      // A version that has answered before is restarted further even if nobody waits any longer; a failed one is not.
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
    const secs = run.config.container.start_deadline_secs;
    const reason = (): AppError => this.#notReady(run, secs);
    using deadline = deadlineSignal({ clock: this.#deps.clock, ms: secs * 1_000, signal, reason });
    try {
      await untilAborted(promise, deadline.signal);
    } finally {
      this.#attempt = undefined;
    }
  }

  #createReplica(run: VersionRun, command: Command): Replica {
    const { version, ring, onTargets, onError } = this.#deps;
    const replica: Replica = new Replica({
      ...this.#deps,
      command,
      readiness: readinessOf(run.spec),
      declaredPort: run.spec.port,
      onLine: (instance, line) => ring.push({ instance, version, line }),
      onTarget: () => {
        onTargets();
        if (replica.target !== undefined) this.#attempt?.answered();
      },
      onFailedStart: (exit) => this.#judge(run, exit),
      onElsewhere: () => {
        const known = this.#noAnswer();
        const words = known?.elsewhere && wordsOfListener(known.elsewhere, known.port);
        this.#attempt?.failed(
          this.#failure('app_not_ready', `${words ?? 'the app listens elsewhere'}${this.#clash(run)}`),
        );
      },
      onError: (error) => {
        onError(error);
        this.#attempt?.failed(error);
      },
    });
    return replica;
  }

  #judge(run: VersionRun, exit: ChildExit): void {
    const attempt = this.#attempt;
    if (attempt === undefined) return;
    attempt.failedStarts += 1;
    const how = describe(exit);
    const refused = exit.kind === 'code' ? shellFailureCodes.includes(exit.code) : exit.kind === 'error';
    if (refused) {
      attempt.failed(this.#failure('app_config_invalid', `the command could not be run: ${how}`));
    } else if (attempt.failedStarts >= maxFailedStarts) {
      attempt.failed(
        this.#failure(
          'app_crashed',
          `the app ended before it answered, ${attempt.failedStarts} times: ${how}${this.#clash(run)}`,
        ),
      );
    } else {
      this.#task?.progress(['start', `the app ended before it answered (${how}); starting it once more`]);
    }
  }

  #notReady(run: VersionRun, deadlineSecs: number): AppError {
    const what = run.spec.health_url === undefined ? 'on its PORT' : `at ${run.spec.health_url} on its PORT`;
    const known = this.#noAnswer();
    const why =
      known?.elsewhere !== undefined
        ? `: ${wordsOfListener(known.elsewhere, known.port)}`
        : known?.seen && `: ${wordsOfOutcome(known.seen, `PORT (${known.port})`, readinessOf(run.spec))}`;
    const message = `the app did not answer ${what} within ${deadlineSecs} s${why ?? ''}${this.#clash(run)}`;
    return this.#failure('app_not_ready', message);
  }

  #noAnswer(): NoAnswer | undefined {
    const all = this.#replicas.flatMap((replica) => replica.noAnswer ?? []);
    return all.find(({ elsewhere }) => elsewhere !== undefined) ?? all.find(({ seen }) => seen !== undefined) ?? all[0];
  }

  /** Says who has the port that the app declares, for an app that insists on it. */
  #clash({ spec }: VersionRun): string {
    const heldBy = this.#noAnswer()?.portHeldBy;
    if (heldBy === undefined) return '';
    const who = heldBy === '' ? 'another program' : `the app ${heldBy}`;
    return ` (its \`port\`, ${spec.port}, is taken by ${who} on this machine, so it was given another one in PORT)`;
  }

  #failure(code: 'app_crashed' | 'app_not_ready' | 'app_config_invalid', message: string): AppError {
    const { ring, version } = this.#deps;
    const query = { matches: ofVersion(version), since: this.#logsSince };
    const logs = ring.last(maxFailureLogLines, query).map(({ line }) => line);
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
}

function describe(exit: ChildExit): string {
  if (exit.kind === 'code') return `exit code ${exit.code}`;
  return exit.kind === 'signal' ? `killed by ${exit.signal}` : exit.error.message;
}
