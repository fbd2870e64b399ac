/** Runs what makes a source ready to run (installing, building), one command after the other, bounded and cancellable. */
import { randomBytes } from 'node:crypto';
import { AppError } from '../../../shared/errors.ts';
import { startGuarded, type ChildExit } from './guard.ts';
import { readLines } from './log-ring.ts';
import type { RunFiles } from './run-files.ts';

export interface InstallStep {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

export interface InstallOptions {
  readonly runFiles: Pick<RunFiles, 'add' | 'remove'>;
  /** Of all steps together. */
  readonly timeoutMs: number;
  readonly onStep: (title: string) => void;
  readonly onLine: (line: string) => void;
  readonly signal: AbortSignal;
}

const maxFailureLogLines = 50;
/** From SIGTERM to SIGKILL, where it is cancelled or takes too long. */
const graceMs = 2_000;
/** Of sh(1): not found. */
const notFoundCode = 127;

/** @throws AppError build_failed, build_timeout, each with the last lines; the signal's reason, once nothing runs any more. */
export async function runInstall(steps: readonly InstallStep[], options: InstallOptions): Promise<void> {
  const { onLine, onStep, signal, timeoutMs } = options;
  const lines: string[] = [];
  const keep = (line: string): void => {
    lines.push(line);
    if (lines.length > maxFailureLogLines) lines.shift();
    onLine(line);
  };
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), timeoutMs);
  try {
    for (const step of steps) {
      signal.throwIfAborted();
      const title = step.argv.join(' ');
      onStep(title);
      keep(`$ ${title}`);
      const exit = await runStep(step, options, keep, AbortSignal.any([signal, late.signal]));
      signal.throwIfAborted();
      if (late.signal.aborted)
        throw failure('build_timeout', `${title} did not end: installing has ${timeoutMs / 1_000} s`, lines);
      if (exit.kind !== 'code' || exit.code !== 0) throw failure('build_failed', describe(step, exit), lines);
    }
  } finally {
    clearTimeout(timer);
  }
}

async function runStep(
  step: InstallStep,
  { runFiles }: InstallOptions,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<ChildExit> {
  const id = `install-${randomBytes(4).toString('hex')}`;
  const process = startGuarded(step);
  if (process.pid !== undefined) runFiles.add(id, process.pid);
  for (const stream of [process.stdout, process.stderr]) readLines(stream, onLine);
  let killTimer: NodeJS.Timeout | undefined;
  const end = (): void => {
    process.kill('SIGTERM');
    killTimer = setTimeout(() => process.kill('SIGKILL'), graceMs);
  };
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  try {
    const exit = await process.exited;
    await process.ended;
    return exit;
  } finally {
    clearTimeout(killTimer);
    signal.removeEventListener('abort', end);
    runFiles.remove(id);
  }
}

function describe({ argv }: InstallStep, exit: ChildExit): string {
  const title = argv.join(' ');
  if (exit.kind === 'error') return `${title} could not be run: ${exit.error.message}`;
  if (exit.kind === 'signal') return `${title} was killed by ${exit.signal}`;
  const hint = exit.code === notFoundCode ? `; is ${argv[0]} installed on this machine?` : '';
  return `${title} failed with exit code ${exit.code}${hint}`;
}

function failure(code: 'build_failed' | 'build_timeout', message: string, logs: readonly string[]): AppError {
  return new AppError(code, message, { phase: 'build', data: { logs: [...logs] } });
}
