/**
 * Keeps one child process running: starts it, waits until it is ready, restarts it with backoff when it dies, and stops
 * it within a time limit. The child leads its own process group, so that Ctrl-C in the terminal only reaches the
 * supervisor. Its IPC channel closes when the supervisor ends, which the child notices.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { onAbort } from '../../shared/wait/abort.ts';
import { type Backoff, backoff } from '../../shared/wait/backoff.ts';
import { systemClock } from '../../shared/wait/clock.ts';
import { sleep } from '../../shared/wait/sleep.ts';
import { AppError, toAppError } from '../../shared/errors.ts';

export interface ManagedChildOptions {
  readonly name: string;
  /** The arguments of node. */
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Receives the standard output and error of the child; the first start truncates it. */
  readonly logFile: string;
  /** Resolves once the child is ready. If it rejects, or the child ends first, the start has failed. */
  readonly ready: (child: ChildProcess, signal: AbortSignal) => Promise<void>;
  readonly readyDeadlineMs: number;
  /** Time between SIGTERM and SIGKILL. */
  readonly stopTimeoutMs: number;
  /** Receives a sentence about each death and restart. */
  readonly onEvent: (message: string) => void;
  /** The pauses before restarts; by default 0.2 to 5 s. */
  readonly pauses?: Backoff;
  /** Called once if the child has died too often to be restarted. */
  readonly onGiveUp: (error: AppError) => void;
}

/** The limit of consecutive deaths; a run of `soundRunMs` resets the count. */
const maxDeaths = 8;
const soundRunMs = 30_000;
const logTailLines = 15;

export class ManagedChild {
  readonly #options: ManagedChildOptions;
  readonly #stopping = new AbortController();
  readonly #pauses: Backoff;
  #child: ChildProcess | undefined;
  #loop: Promise<void> = Promise.resolve();

  constructor(options: ManagedChildOptions) {
    this.#options = options;
    this.#pauses = options.pauses ?? backoff({ minMs: 200, maxMs: 5_000 });
  }

  /** Resolves when the child is ready. @throws AppError if this first start fails; the child has then ended. */
  async start(signal: AbortSignal): Promise<void> {
    // Truncates the log of an earlier run; restarts append to it.
    closeSync(openSync(this.#options.logFile, 'w', 0o600));
    const first = this.#spawn();
    using _listener = onAbort(signal, () => this.#stopping.abort());
    try {
      await this.#untilReady(first);
    } catch (error) {
      await this.#end(first);
      throw error;
    }
    this.#loop = this.#keepRunning(first);
  }

  /** Stops the child for good. Resolves when it has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#child !== undefined) await this.#end(this.#child);
    await this.#loop;
  }

  /** Sends SIGKILL to the process group of the child at once. */
  kill(): void {
    this.#stopping.abort();
    signalGroup(this.#child, 'SIGKILL');
  }

  #spawn(): ChildProcess {
    const { args, env, cwd, logFile } = this.#options;
    const log = openSync(logFile, 'a', 0o600);
    try {
      this.#child = spawn(process.execPath, args, { cwd, env, detached: true, stdio: ['ignore', log, log, 'ipc'] });
    } finally {
      closeSync(log);
    }
    // Without a listener, a failed spawn would end this process; `exitOf` reports the failure.
    this.#child.on('error', () => undefined);
    return this.#child;
  }

  /** Restarts the child whenever it dies, until it has died too often. Never rejects. */
  async #keepRunning(first: ChildProcess): Promise<void> {
    const { name, onEvent, onGiveUp } = this.#options;
    let child = first;
    let deaths = 0;
    for (;;) {
      const startedMs = performance.now();
      const exit = await exitOf(child);
      if (this.#stopping.signal.aborted) return;
      if (performance.now() - startedMs > soundRunMs) {
        deaths = 0;
        this.#pauses.reset();
      }
      deaths += 1;
      if (deaths > maxDeaths) {
        onGiveUp(this.#failure(`${name} ${exit}, ${deaths} times in a row`));
        return;
      }
      const pauseMs = this.#pauses.next();
      onEvent(`${name} ${exit}; restarting it (log: ${this.#options.logFile})`);
      await sleep(systemClock, pauseMs, this.#stopping.signal);
      if (this.#stopping.signal.aborted) return;
      child = this.#spawn();
      try {
        await this.#untilReady(child);
        onEvent(`${name} is running again`);
      } catch (error) {
        if (!this.#stopping.signal.aborted) onEvent(toAppError(error).message);
        await this.#end(child);
      }
    }
  }

  /** @throws AppError if the child ends or is not ready in time; the message includes the last lines of its log. */
  async #untilReady(child: ChildProcess): Promise<void> {
    const { name, ready, readyDeadlineMs } = this.#options;
    const over = new AbortController();
    const timer = setTimeout(() => {
      over.abort(this.#failure(`${name} was not ready within ${readyDeadlineMs / 1_000} s`));
    }, readyDeadlineMs);
    const onExit = (): void => {
      over.abort(this.#failure(`${name} ${describeExit(child)}`));
    };
    child.once('exit', onExit);
    child.once('error', onExit);
    using _listener = onAbort(this.#stopping.signal, () => {
      over.abort(new AppError('cancelled', `${name} was stopped`));
    });
    try {
      if (child.exitCode !== null || child.signalCode !== null) onExit();
      await ready(child, over.signal);
      over.signal.throwIfAborted();
    } catch (error) {
      throw over.signal.aborted ? over.signal.reason : error;
    } finally {
      clearTimeout(timer);
      child.off('exit', onExit);
      child.off('error', onExit);
    }
  }

  async #end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
    const timer = setTimeout(() => {
      signalGroup(child, 'SIGKILL');
    }, this.#options.stopTimeoutMs);
    child.kill('SIGTERM');
    await exitOf(child);
    clearTimeout(timer);
  }

  #failure(message: string): AppError {
    const tail = lastLines(this.#options.logFile);
    const shown = tail === '' ? '' : `; the last lines of ${this.#options.logFile}:\n${tail}`;
    return new AppError('internal', `${message}${shown}`);
  }
}

/** Resolves with a description of how the child ended; never rejects. */
async function exitOf(child: ChildProcess): Promise<string> {
  if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) {
    await new Promise<void>((done) => child.once('exit', () => done()));
  }
  return describeExit(child);
}

function describeExit(child: ChildProcess): string {
  if (child.pid === undefined) return 'could not be started';
  return child.signalCode === null ? `exited with code ${child.exitCode}` : `was killed by ${child.signalCode}`;
}

function signalGroup(child: ChildProcess | undefined, signal: NodeJS.Signals): void {
  if (child?.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // The process group has already ended.
  }
}

function lastLines(file: string): string {
  try {
    const lines = readFileSync(file, 'utf8').slice(-16_384).trimEnd().split('\n');
    return lines.slice(-logTailLines).join('\n');
  } catch {
    return '';
  }
}
