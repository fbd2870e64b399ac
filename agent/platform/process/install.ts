/** Runs the commands that make a source ready to run (installing, building), one after the other, bounded and cancellable. */
import { randomBytes } from 'node:crypto';
import { AppError } from '../../../shared/errors.ts';
import { deadlineSignal, onAbort } from '../../../shared/wait/abort.ts';
import type { Clock } from '../../../shared/wait/clock.ts';
import { startGuarded, type ChildExit } from './guard.ts';
import { readLines } from './log-ring.ts';
import type { RunFiles } from './run-files.ts';

export interface InstallStep {
  readonly argv: readonly string[];
  /** Shown instead of `argv`. */
  readonly title?: string | undefined;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface InstallOptions {
  readonly runFiles: Pick<RunFiles, 'add' | 'remove'>;
  /** Bounds all steps together. */
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly onStep: (title: string) => void;
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
}

const maxFailureLogLines = 50;
/** Time from SIGTERM to SIGKILL when a step is cancelled or takes too long. */
const graceMs = 2_000;
/** The exit code of sh(1) for a program that it does not find. */
const notFoundCode = 127;

/** @throws AppError build_failed, build_timeout, each with the last lines; the signal's reason, when nothing runs any longer. */
export async function runInstall(steps: readonly InstallStep[], options: InstallOptions): Promise<void> {
  const { onLine, onStep, signal, timeoutMs, clock } = options;
  const lines: string[] = [];
  const keep = (line: string): void => {
    lines.push(line);
    if (lines.length > maxFailureLogLines) lines.shift();
    onLine(line);
  };
  using deadline = deadlineSignal({ clock, ms: timeoutMs, signal });
  for (const step of steps) {
    signal.throwIfAborted();
    const title = titleOf(step);
    onStep(title);
    keep(`$ ${title}`);
    const exit = await runStep(step, options, keep, deadline.signal);
    signal.throwIfAborted();
    if (deadline.expired)
      throw failure('build_timeout', `${title} did not end: installing has ${timeoutMs / 1_000} s`, lines);
    if (exit.kind !== 'code' || exit.code !== 0) throw failure('build_failed', describe(step, exit), lines);
  }
}

async function runStep(
  step: InstallStep,
  { runFiles, clock }: InstallOptions,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<ChildExit> {
  const id = `install-${randomBytes(4).toString('hex')}`;
  const process = startGuarded(step);
  if (process.pid !== undefined) runFiles.add(id, process.pid);
  for (const stream of [process.stdout, process.stderr]) readLines(stream, onLine);
  let stopTimer = (): void => undefined;
  using _listener = onAbort(signal, () => {
    process.kill('SIGTERM');
    stopTimer = clock.after(graceMs, () => process.kill('SIGKILL'));
  });
  try {
    const exit = await process.exited;
    await process.ended;
    return exit;
  } finally {
    stopTimer();
    runFiles.remove(id);
  }
}

function titleOf({ argv, title }: InstallStep): string {
  if (title !== undefined) return title;
  const [program, flag, script] = argv;
  return program === 'sh' && flag === '-c' && script !== undefined && argv.length === 3 ? script : argv.join(' ');
}

function describe(step: InstallStep, exit: ChildExit): string {
  const { argv } = step;
  const title = titleOf(step);
  if (exit.kind === 'error') return `${title} could not be run: ${exit.error.message}`;
  if (exit.kind === 'signal') return `${title} was killed by ${exit.signal}`;
  const hint = exit.code === notFoundCode ? `; is ${argv[0]} installed on this machine?` : '';
  return `${title} failed with exit code ${exit.code}${hint}`;
}

function failure(code: 'build_failed' | 'build_timeout', message: string, logs: readonly string[]): AppError {
  return new AppError(code, message, { phase: 'build', data: { logs: [...logs] } });
}
