/** One replica of a version, kept running: starts its process, probes it until it answers, and starts it again when it ends. */
import { randomBytes } from 'node:crypto';
import { toAppError, type AppError } from '../../../shared/errors.ts';
import type { Target } from '../../../shared/protocol/routes.ts';
import { onAbort } from '../../../shared/wait/abort.ts';
import { backoff } from '../../../shared/wait/backoff.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { sleep } from '../../../shared/wait/sleep.ts';
import { probeOnce, type ProbeOutcome } from '../../../shared/net/http-probe.ts';
import type { Probing } from '../probing.ts';
import { listenerInLine, type Listener } from '../listening.ts';
import type { ReadinessProbe } from '../readiness.ts';
import type { Command } from './command.ts';
import { startGuarded, type ChildExit, type GuardedProcess } from './guard.ts';
import { readLines } from './log-ring.ts';
import type { Ports } from './ports.ts';
import type { RunFiles } from './run-files.ts';
import { watchStartup } from './startup.ts';

export interface ReplicaLimits {
  readonly restartMinMs: number;
  readonly restartMaxMs: number;
  /** A process that ran at least this long is started again at once when it ends. */
  readonly steadyMs: number;
}

export interface ReplicaDeps {
  readonly app: string;
  readonly version: number;
  readonly command: Command;
  readonly readiness: ReadinessProbe;
  /** The `port` of the app. Any port will do for an app that has the default, since it reads PORT. */
  readonly declaredPort: number;
  readonly probing: Probing;
  readonly ports: Ports;
  readonly runFiles: RunFiles;
  readonly limits: ReplicaLimits;
  readonly clock: Clock;
  readonly onLine: (instance: string, line: string) => void;
  /** Called when the target appears or disappears. */
  readonly onTarget: () => void;
  /** Called when a process has ended that never answered. */
  readonly onFailedStart: (exit: ChildExit) => void;
  /** Called when a process that has not answered is certain to listen elsewhere only. */
  readonly onElsewhere: () => void;
  /** Called when the machine refuses a port or a process. The replica tries again. */
  readonly onError: (error: AppError) => void;
}

/** One process from its start to its end. */
interface Life {
  readonly id: string;
  readonly port: number;
  /** Who has the declared port; undefined if the process has it, or needs none. */
  readonly portHeldBy: string | undefined;
  readonly process: GuardedProcess;
  /** Aborts when the process has ended, or when it is asked to end. */
  readonly over: AbortController;
  probing: Promise<void>;
  answered: boolean;
  portTaken: boolean;
  /** What the last probe saw. */
  seen: ProbeOutcome | undefined;
  /** Where the process listens instead of on its PORT. */
  elsewhere: Listener | undefined;
  /** The last line that said where the app listens. */
  said: Listener | undefined;
  lines: number;
}

/** What is known of a process that has not answered. */
export interface NoAnswer extends Pick<Life, 'port' | 'portHeldBy' | 'seen' | 'elsewhere'> {}

type ReplicaState =
  | { readonly kind: 'starting'; readonly life: Life }
  | { readonly kind: 'ready'; readonly life: Life; readonly target: Target }
  /** Between two processes; `wake` ends the pause early. */
  | { readonly kind: 'pausing'; readonly wake: () => void }
  | { readonly kind: 'stopping'; readonly life: Life | undefined }
  | { readonly kind: 'stopped' };

/** Another program took the port between the choice and the app's `listen`. */
const portTakenPattern = /EADDRINUSE|address already in use/i;
const maxPortRetries = 5;
const connectTimeoutMs = 2_000;
/** The `port` of an app that declares none. */
const defaultPort = 8_080;
/** `localhost` is either of the two, and some servers listen on only one. */
const loopbacks = ['127.0.0.1', '::1'] as const;

export class Replica {
  readonly #deps: ReplicaDeps;
  readonly #done: Promise<void>;
  #hurried = false;
  #life: Life | undefined;
  #state: ReplicaState = { kind: 'pausing', wake: () => {} };

  constructor(deps: ReplicaDeps) {
    this.#deps = deps;
    this.#done = this.#run();
  }

  get target(): Target | undefined {
    return this.#state.kind === 'ready' ? this.#state.target : undefined;
  }

  /** The id of the current process. */
  get id(): string | undefined {
    return 'life' in this.#state ? this.#state.life?.id : undefined;
  }

  /** What is known of the current or last process, if that has not answered. */
  get noAnswer(): NoAnswer | undefined {
    return this.#life?.answered === false ? this.#life : undefined;
  }

  /** Removes the target until it has answered a probe again. */
  suspect(id: string): void {
    const state = this.#state;
    if (state.kind !== 'ready' || state.target.id !== id) return;
    this.#state = { kind: 'starting', life: state.life };
    state.life.probing = this.#probe(state.life, [state.target.host]);
    this.#deps.onTarget();
  }

  /** A caller waits: ends the pause, also one that is about to begin. */
  wake(): void {
    this.#hurried = true;
    if (this.#state.kind === 'pausing') this.#state.wake();
  }

  /** Removes the target at once. Sends SIGTERM and, after the grace or when the signal aborts, SIGKILL. Resolves when no process is left. */
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
    const stopTimer = this.#deps.clock.after(options.graceMs, kill);
    using _listener = options.signal && onAbort(options.signal, kill);
    await this.#done;
    stopTimer();
  }

  async #run(): Promise<void> {
    const { limits, clock, onError, onFailedStart } = this.#deps;
    const pauses = backoff({ minMs: limits.restartMinMs, maxMs: limits.restartMaxMs });
    let portRetries = 0;
    let failedStarts = 0;
    for (;;) {
      const startedMs = clock.nowMs();
      let steady = false;
      try {
        const ended = await this.#live();
        if (this.#stopping) break;
        if (ended.portTaken && portRetries < maxPortRetries) {
          portRetries += 1;
          continue;
        }
        failedStarts = ended.answered ? 0 : failedStarts + 1;
        steady = ended.answered && clock.nowMs() - startedMs >= limits.steadyMs;
        if (!ended.answered) onFailedStart(ended.exit);
      } catch (error) {
        failedStarts = 2;
        onError(toAppError(error));
      }
      if (this.#stopping) break;
      if (steady) pauses.reset();
      // The first failure may pass, and a caller waits, so there is no pause after it. A steady process had its pause while it ran.
      if (!steady && failedStarts !== 1) await this.#pause(pauses.next());
      if (this.#stopping) break;
    }
    this.#state = { kind: 'stopped' };
  }

  /** Runs one process until it has ended, with everything that it started. */
  async #live(): Promise<{ readonly exit: ChildExit; readonly answered: boolean; readonly portTaken: boolean }> {
    const { app, version, command, ports, runFiles } = this.#deps;
    this.#hurried = false;
    const { declaredPort } = this.#deps;
    const { port, heldBy } = await ports.take(app, declaredPort === defaultPort ? undefined : declaredPort);
    try {
      if (this.#stopping) return { exit: { kind: 'code', code: 0 }, answered: false, portTaken: false };
      const id = `${app}.${version}.${randomBytes(6).toString('hex')}`;
      const process = startGuarded({ ...command, env: { ...command.env, PORT: String(port) } });
      const life: Life = {
        id,
        port,
        portHeldBy: heldBy,
        process,
        over: new AbortController(),
        probing: Promise.resolve(),
        answered: false,
        portTaken: false,
        seen: undefined,
        elsewhere: undefined,
        said: undefined,
        lines: 0,
      };
      this.#life = life;
      if (process.pid !== undefined) runFiles.add(id, process.pid);
      for (const stream of [process.stdout, process.stderr]) readLines(stream, (line) => this.#take(life, line));
      this.#state = { kind: 'starting', life };
      life.probing = Promise.all([this.#probe(life, loopbacks), this.#watchStartup(life)]).then(() => undefined);
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

  /** The process has ended: its target is removed before anything else happens. */
  #leave(life: Life): void {
    life.over.abort();
    const { kind } = this.#state;
    if (kind === 'stopping') return;
    this.#state = { kind: 'pausing', wake: () => {} };
    if (kind === 'ready') this.#deps.onTarget();
  }

  /** Makes the replica ready once its process answers. Ends, at the latest, with the process. */
  async #probe(life: Life, hosts: readonly string[]): Promise<void> {
    const { readiness, declaredPort, probing, onTarget } = this.#deps;
    const { signal } = life.over;
    const answered = await probing.untilAnswered(async (answerTimeoutMs) => {
      let seen: ProbeOutcome = { kind: 'refused' };
      for (const port of life.elsewhere?.port === declaredPort ? [life.port, declaredPort] : [life.port]) {
        for (const host of hosts) {
          const probe = { ...readiness, host, port, connectTimeoutMs, answerTimeoutMs };
          const onSilence = (): void => void (life.seen = { kind: 'silent' });
          const outcome = await probeOnce(probe, signal, onSilence);
          if (outcome.kind === 'ready') return { host, port };
          if (outcome.kind !== 'refused') seen = outcome;
        }
      }
      life.seen = seen;
      return undefined;
    }, signal);
    if (answered === undefined || this.#state.kind !== 'starting') return;
    life.answered = true;
    this.#state = { kind: 'ready', life, target: { id: life.id, ...answered } };
    onTarget();
  }

  /** Ends when the process has answered or ended. */
  async #watchStartup(life: Life): Promise<void> {
    const { clock, declaredPort, onElsewhere } = this.#deps;
    const { pid } = life.process;
    if (pid === undefined) return;
    const log = (): { listener: Listener | undefined; lines: number } => ({ listener: life.said, lines: life.lines });
    const over = new AbortController();
    using _listener = onAbort(life.over.signal, () => over.abort());
    const onListener = (listener: Listener, certain: boolean): void => {
      if (this.#state.kind !== 'starting' || life.answered) {
        over.abort();
        return;
      }
      life.elsewhere = listener;
      // The declared port is the app's own: it is probed too.
      if (certain && listener.port !== declaredPort) onElsewhere();
    };
    await watchStartup({ clock, pid, port: life.port, log, onListener, isOver: () => life.answered }, over.signal);
  }

  #take(life: Life, line: string): void {
    // A port that the app chose itself is taken by whoever it is, however often it is tried.
    const ownPort = new RegExp(`:${life.port}\\b|^(?!.*:\\d{2,5}\\b)`);
    if (portTakenPattern.test(line) && ownPort.test(line)) life.portTaken = true;
    if (!life.answered) life.said = listenerInLine(line) ?? life.said;
    life.lines += 1;
    this.#deps.onLine(life.id, line);
  }

  async #pause(ms: number): Promise<void> {
    if (this.#hurried) return;
    const woken = new AbortController();
    this.#state = { kind: 'pausing', wake: () => woken.abort() };
    await sleep(this.#deps.clock, ms, woken.signal);
  }

  get #stopping(): boolean {
    return this.#state.kind === 'stopping';
  }
}
