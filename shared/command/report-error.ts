/** The end of a command that fails: its error on standard error, as text or as JSON, and the exit code. */
import { CommanderError } from 'commander';
import { type ErrorCode, errorTable } from '../error-codes.ts';
import { type AppError, toAppError } from '../errors.ts';
import { UsageError, exitCodeOf, exitCodes } from './exit-code.ts';

export interface ErrorReport {
  /** `-o json` was given. */
  readonly isJson: boolean;
  readonly write: (text: string) => void;
  /** Aborted: every error but a wrong command line is the interruption. */
  readonly interrupted: AbortSignal;
  /** Advice that replaces the one of the error table. */
  readonly help?: Partial<Record<ErrorCode, string>>;
}

/** @returns the exit code; 0 for the errors by which commander ends `--help` and `--version`. */
export function reportError(error: unknown, { isJson, write, interrupted, help = {} }: ErrorReport): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.ok;
    // As text, commander has written it already.
    if (isJson) write(usageJson(error.code === 'commander.help' ? 'no command is given' : error.message));
    return exitCodes.usage;
  }
  if (error instanceof UsageError) {
    write(isJson ? usageJson(error.message) : `holdfast: ${error.message}\n`);
    return exitCodes.usage;
  }
  if (interrupted.aborted) {
    write('Interrupted.\n');
    return exitCodes.interrupted;
  }
  const known = toAppError(error);
  const advice = help[known.code] ?? errorTable[known.code].help;
  write(isJson ? errorJson(known, advice) : errorText(known, advice));
  return exitCodeOf(known);
}

/** Whether `-o json` is given; read before the command line is parsed, since parsing may be what fails. */
export function wantsJson(args: readonly string[]): boolean {
  return args.some(
    (arg, index) =>
      arg === '-ojson' || arg === '--output=json' || (arg === 'json' && /^(-o|--output)$/.test(args[index - 1] ?? '')),
  );
}

/** A wrong command line in the form of every other error. */
function usageJson(text: string): string {
  const message = text.replace(/^error: /, '');
  const help = 'See `holdfast --help`, or --help of the command.';
  return jsonOf({ code: 'usage', message, owner: 'caller', retryable: false, help });
}

function errorJson({ code, message, phase, data }: AppError, help: string): string {
  const { owner, retryable } = errorTable[code];
  return jsonOf({ code, message, phase, owner, retryable, help, data });
}

function jsonOf(error: Readonly<Record<string, unknown>>): string {
  return `${JSON.stringify({ error }, null, 2)}\n`;
}

function errorText({ code, message, data }: AppError, help: string): string {
  const logs = Array.isArray(data?.['logs']) ? data['logs'].slice(-20) : [];
  const shown = logs.map((line) => `  | ${String(line)}`);
  return [`holdfast: ${code}: ${message}`, ...shown, `  ${help}`, ''].join('\n');
}
