/** One copy of a version, kept running: starts its process, finds out when it answers, and starts it again when it ends. */
import { randomBytes } from 'node:crypto';
import { backoff } from '../../../shared/wait/backoff.ts';
import { toAppError, type AppError } from '../../../shared/errors.ts';
import type { Target } from '../../../shared/protocol/routes.ts';
import type { Asking } from '../asking.ts';
import type { Command } from './command.ts';
import { startGuarded, type ChildExit, type GuardedProcess } from './guard.ts';
import { readLines } from './log-ring.ts';
import type { Ports } from './ports.ts';
import { hostThatAnswers, loopbacks } from './probe.ts';
import type { RunFiles } from './run-files.ts';

export interface ReplicaLimits {
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
  /** A process that ran this long is started again at once when it ends. */
  readonly steadyMs: number;
}

export interface ReplicaDeps {
  readonly app: string;
  readonly version: number;
  readonly command: Command;
  readonly healthUrl: string | undefined;
  readonly protocol: 'http1' | 'h2c';
  readonly asking: Asking;
  readonly ports: Ports;
  readonly runFiles: RunFiles;
  readonly limits: ReplicaLimits;
  readonly onLine: (instance: string, line: string) => void;
  /** The target has come or gone. */
  readonly onTarget: () => void;
  /** A process ended that had never answered. */
  readonly onFailedStart: (exit: ChildExit) => void;
  /** The machine refused something: no port, no process. It is tried again. */
  readonly onError: (error: AppError) => void;
}

/** One process from its start to its end. */
interface Life {
  readonly id: string;
  readonly port: number;
  readonly process: GuardedProcess;
  /** Aborted when the process has ended or is told to. */
  readonly over: AbortController;
  probing: Promise<void>;
  answered: boolean;
  portTaken: boolean;
}

type ReplicaState =
  | { readonly kind: 'starting'; readonly life: Life }
  | { readonly kind: 'ready'; readonly life: Life; readonly target: Target }
  /** Between two processes; `wake` ends the pause. */
  | { readonly kind: 'pausing'; readonly wake: () => void }
  | { readonly kind: 'stopping'; readonly life: Life | undefined }
  | { readonly kind: 'stopped' };

/** Someone else took the port between the choice and the app's `listen`. */
const portTakenPattern = /EADDRINUSE|address already in use/i;
const maxPortRetries = 5;

export class Replica {
  readonly #deps: ReplicaDeps;
  readonly #done: Promise<void>;
  #hurried = false;
  #state: ReplicaState = { kind: 'pausing', wake: () => {} };

  constructor(deps: ReplicaDeps) {
    this.#deps = deps;
    this.#done = this.#run();
  }

  get target(): Target | undefined {
    return this.#state.kind === 'ready' ? this.#state.target : undefined;
  }

  /** Id of the process that lives now. */
  get id(): string | undefined {
    return 'life' in this.#state ? this.#state.life?.id : undefined;
  }

  /** Does not trust the target until it has answered again. */
  suspect(id: string): void {
    const state = this.#state;
    if (state.kind !== 'ready' || state.target.id !== id) return;
    this.#state = { kind: 'starting', life: state.life };
    state.life.probing = this.#probe(state.life, [state.target.host]);
    this.#deps.onTarget();
  }

  /** Someone waits: no more pause, nor one that is about to begin. */
  wake(): void {
    this.#hurried = true;
    if (this.#state.kind === 'pausing') this.#state.wake();
  }

  /** The target is gone at once. SIGTERM; after the grace, or when the signal aborts, SIGKILL. Resolves when nothing is left. */
  async stop(options: { readonly graceMs: number; readonly signal?: AbortSignal | undefined }): Promise<void> {
    const state = this.#state;
    if (state.kind === 'stopped') return;
    const life = 'life' in state ? state.life : undefined;
    this.#state = { kind: 'stopping', life };
    if (state.kind === 'pausing') state.wake();
    if (state.kind === 'ready') this.#deps.onTarget();
    life?.over.abort();
    life?.process.kill('SIGTERM');
    const kill = (): void => life?.process.kill('SIGKILL');
    const timer = setTimeout(kill, options.graceMs);
    options.signal?.addEventListener('abort', kill, { once: true });
    if (options.signal?.aborted === true) kill();
    await this.#done;
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', kill);
  }

  async #run(): Promise<void> {
    const { limits, onError, onFailedStart } = this.#deps;
    const pauses = backoff({ minMs: limits.restartMinMs, maxMs: limits.restartMaxMs });
    let portRetries = 0;
    let failedStarts = 0;
    for (;;) {
      const startedMs = performance.now();
      let steady = false;
      try {
        const ended = await this.#live();
        if (this.#stopping) break;
        if (ended.portTaken && portRetries < maxPortRetries) {
          portRetries += 1;
          continue;
        }
        failedStarts = ended.answered ? 0 : failedStarts + 1;
        steady = ended.answered && performance.now() - startedMs >= limits.steadyMs;
        if (!ended.answered) onFailedStart(ended.exit);
      } catch (error) {
        failedStarts = 2;
        onError(toAppError(error));
      }
      if (this.#stopping) break;
      if (steady) pauses.reset();
      // The first failure may be a passing one, and someone waits; a steady one had its pause while it ran.
      if (!steady && failedStarts !== 1) await this.#pause(pauses.next());
      if (this.#stopping) break;
    }
    this.#state = { kind: 'stopped' };
  }

  /** One process, until nothing of it is left. */
  async #live(): Promise<{ readonly exit: ChildExit; readonly answered: boolean; readonly portTaken: boolean }> {
    const { app, version, command, ports, runFiles } = this.#deps;
    this.#hurried = false;
    const port = await ports.take();
    try {
      if (this.#stopping) return { exit: { kind: 'code', code: 0 }, answered: false, portTaken: false };
      const id = `${app}.${version}.${randomBytes(6).toString('hex')}`;
      const process = startGuarded({ ...command, env: { ...command.env, PORT: String(port) } });
      const life: Life = {
        id,
        port,
        process,
        over: new AbortController(),
        probing: Promise.resolve(),
        answered: false,
        portTaken: false,
      };
      if (process.pid !== undefined) runFiles.add(id, process.pid);
      for (const stream of [process.stdout, process.stderr]) readLines(stream, (line) => this.#take(life, line));
      this.#state = { kind: 'starting', life };
      life.probing = this.#probe(life, loopbacks);
      const exit = await process.exited;
      this.#leave(life);
      await life.probing;
      await process.ended;
      runFiles.remove(id);
      return { exit, answered: life.answered, portTaken: life.portTaken && !life.answered };
    } finally {
      ports.release(port);
    }
  }

  /** The process has ended: its target is gone before anything else is looked at. */
  #leave(life: Life): void {
    life.over.abort();
    const { kind } = this.#state;
    if (kind === 'stopping') return;
    this.#state = { kind: 'pausing', wake: () => {} };
    if (kind === 'ready') this.#deps.onTarget();
  }

  /** Makes the replica ready once its process answers; ends, at the latest, when the process does. */
  async #probe(life: Life, hosts: readonly string[]): Promise<void> {
    const { healthUrl, protocol, asking, onTarget } = this.#deps;
    const { signal } = life.over;
    const host = await hostThatAnswers({ hosts, port: life.port, healthUrl, protocol }, asking, signal);
    if (host === undefined || this.#state.kind !== 'starting') return;
    life.answered = true;
    this.#state = { kind: 'ready', life, target: { id: life.id, host, port: life.port } };
    onTarget();
  }

  #take(life: Life, line: string): void {
    if (portTakenPattern.test(line)) life.portTaken = true;
    this.#deps.onLine(life.id, line);
  }

  async #pause(ms: number): Promise<void> {
    if (this.#hurried) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#state = { kind: 'pausing', wake: resolve };
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
  }

  get #stopping(): boolean {
    return this.#state.kind === 'stopping';
  }
}
