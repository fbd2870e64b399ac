/** Reports the error of a failed command on standard error, as text or JSON, and picks the exit code. */
import { CommanderError } from 'commander';
import { type ErrorCode, errorTable } from '../error-codes.ts';
import { type AppError, toAppError } from '../errors.ts';
import { UsageError, exitCodeOf, exitCodes } from './exit-code.ts';

export interface ErrorReport {
  readonly isJson: boolean;
  readonly write: (text: string) => void;
  /** If aborted, every error except a usage error counts as the interruption. */
  readonly interrupted: AbortSignal;
  /** Advice that replaces the advice of the error table. */
  readonly help?: Partial<Record<ErrorCode, string>>;
}

/** @returns the exit code; 0 for the errors that commander throws after `--help` and `--version`. */
export function reportError(error: unknown, { isJson, write, interrupted, help = {} }: ErrorReport): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return exitCodes.ok;
    // Commander has already written the text form.
    if (isJson) write(usageJson(error.code === 'commander.help' ? 'no command given' : error.message));
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

/** Returns whether `-o json` is given. Works on the unparsed command line, since parsing may be what fails. */
export function wantsJson(args: readonly string[]): boolean {
  return args.some(
    (arg, index) =>
      arg === '-ojson' || arg === '--output=json' || (arg === 'json' && /^(-o|--output)$/.test(args[index - 1] ?? '')),
  );
}

/** Returns a usage error in the JSON form of all other errors. */
function usageJson(text: string): string {
  const message = text.replace(/^error: /, '');
  const help = 'See `holdfast --help` or `holdfast COMMAND --help`.';
  return jsonOf({ code: 'usage', message, owner: 'caller', retryable: false, help });
}

function errorJson({ code, message, phase, owner, retryable, data }: AppError, help: string): string {
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
