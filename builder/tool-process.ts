/** Runs a program of a build, reads its output line by line, and leaves no process behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { maxLineBytes } from '../shared/protocol/builder-wire.ts';
import { textLines } from '../shared/net/text-lines.ts';
import { onAbort } from '../shared/wait/abort.ts';
import type { Clock } from '../shared/wait/clock.ts';
import { AppError, toAppError } from '../shared/errors.ts';

export interface ProcessCall {
  readonly file: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

export interface ProcessEnd {
  /** undefined if a signal ended the program. */
  readonly exitCode: number | undefined;
}

export interface ToolProcessDeps {
  readonly clock: Clock;
  /** What the program is started with, such as unshare; see sandbox.ts. */
  readonly prefix: readonly string[];
  /** Aborted when this process is about to exit, and programs have to be killed at once. */
  readonly killed: AbortSignal;
}

/** Time from SIGTERM to SIGKILL. */
const termGraceMs = 3_000;
/** Time to read on after the program has ended: a process that has left its group may hold the output open. */
const outputGraceMs = 1_000;

/**
 * @param options.onLine is awaited, so that a slow listener slows down the program.
 * @throws AppError builder_unavailable if it cannot be started; the signal's reason, once the program has ended.
 */
export async function runTool(
  { clock, prefix, killed }: ToolProcessDeps,
  { file, args, env }: ProcessCall,
  options: { readonly signal: AbortSignal; readonly onLine: (line: string) => Promise<void> },
): Promise<ProcessEnd> {
  const { signal, onLine } = options;
  signal.throwIfAborted();
  const [program = file, ...rest] = [...prefix, file, ...args];
  // It leads a process group, so that what RUN starts ends with it.
  const child = spawn(program, rest, { env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let stopTimer: (() => void) | undefined;
  using _abort = onAbort(signal, () => {
    signalGroup(child, 'SIGTERM');
    stopTimer = clock.after(termGraceMs, () => signalGroup(child, 'SIGKILL'));
  });
  using _kill = onAbort(killed, () => signalGroup(child, 'SIGKILL'));
  const reading = Promise.all([child.stdout, child.stderr].map((stream) => readLines(stream, onLine)));
  reading.catch(() => undefined);
  try {
    const exitCode = await exited(child, program);
    signalGroup(child, 'SIGKILL');
    stopTimer?.();
    stopTimer = clock.after(outputGraceMs, () => {
      child.stdout.destroy();
      child.stderr.destroy();
    });
    await reading;
    signal.throwIfAborted();
    return { exitCode };
  } finally {
    stopTimer?.();
    child.stdout.destroy();
    child.stderr.destroy();
  }
}

async function readLines(stream: AsyncIterable<Buffer>, onLine: (line: string) => Promise<void>): Promise<void> {
  try {
    for await (const line of textLines(stream, maxLineBytes)) await onLine(line);
  } catch (error) {
    // The stream was destroyed above because a process held it open.
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE')) throw error;
  }
}

async function exited(child: ChildProcess, program: string): Promise<number | undefined> {
  try {
    const [code] = (await once(child, 'exit')) as [number | null];
    return code ?? undefined;
  } catch (error) {
    throw new AppError('builder_unavailable', `${program} cannot be started: ${toAppError(error).message}`, {
      phase: 'build',
      cause: error,
    });
  }
}

function signalGroup(child: ChildProcess, name: 'SIGTERM' | 'SIGKILL'): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // The group has no process any more.
  }
}
