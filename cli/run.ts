/** The command line: its commands, and what becomes of their errors. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { type AppError, type ErrorCode, errorTable, toAppError } from '../shared/errors.ts';
import { release } from '../shared/release.ts';
import { appCommand } from './commands/app.ts';
import { appsCommand } from './commands/apps.ts';
import { applyCommand } from './commands/apply.ts';
import { builderCommand } from './commands/builder.ts';
import { buildsCommand } from './commands/builds.ts';
import { deleteCommand } from './commands/delete.ts';
import { deployCommand } from './commands/deploy.ts';
import { ensureCommand } from './commands/ensure.ts';
import { eventsCommand } from './commands/events.ts';
import { imagesCommand } from './commands/images.ts';
import { initCommand } from './commands/init.ts';
import { logsCommand } from './commands/logs.ts';
import { rollbackCommand } from './commands/rollback.ts';
import { startCommand } from './commands/start.ts';
import { statusCommand } from './commands/status.ts';
import { versionsCommand } from './commands/versions.ts';
import type { CliContext } from './context.ts';
import { UsageError, exitCodeOf, exitCodes } from './exit-code.ts';

const commands = [
  applyCommand,
  deployCommand,
  initCommand,
  appsCommand,
  appCommand,
  versionsCommand,
  rollbackCommand,
  deleteCommand,
  logsCommand,
  buildsCommand,
  imagesCommand,
  eventsCommand,
  ensureCommand,
  statusCommand,
  startCommand,
  builderCommand,
];

/** Runs one command. @returns the exit code; never rejects. */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  const isJson = wantsJson(args);
  // What commander says of a wrong command line is text: with -o json it is kept back and told as JSON instead.
  const program = buildProgram(context, isJson ? () => undefined : undefined);
  try {
    await program.parseAsync(args[0] === '--version' ? ['-V'] : args, { from: 'user' });
    return exitCodes.ok;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.ok;
      if (isJson)
        context.stderr.write(usageJson(error.code === 'commander.help' ? 'no command is given' : error.message));
      return exitCodes.usage;
    }
    if (error instanceof UsageError) {
      context.stderr.write(isJson ? usageJson(error.message) : `holdfast: ${error.message}\n`);
      return exitCodes.usage;
    }
    if (context.interrupted.aborted) {
      context.stderr.write('Interrupted.\n');
      return exitCodes.interrupted;
    }
    const known = toAppError(error);
    context.stderr.write(errorText(known, isJson));
    return exitCodeOf(known);
  }
}

export function buildProgram(
  context: CliContext,
  writeErr: (text: string) => void = (text) => context.stderr.write(text),
): Command {
  const program = new Command('holdfast')
    .description('Declare an app, call it, and it runs.')
    // Not --version here: options of the program are taken wherever they stand, also from `ensure NAME --version 2`.
    .version(release, '-V', 'show the release, as `holdfast --version` does')
    .option('--agent <url>', 'agent, http://host:port (HOLDFAST_AGENT)')
    .option('--token-file <file>', 'file that holds the token (HOLDFAST_TOKEN, HOLDFAST_TOKEN_FILE)')
    .addOption(new Option('-o, --output <form>', 'form of the result').choices(['table', 'json']).default('table'))
    .option('--timeout <seconds>', 'time the command may take', timeoutSeconds);
  for (const make of commands) program.addCommand(make(context));
  for (const command of withSubcommands(program)) {
    command
      .exitOverride()
      .configureHelp({ showGlobalOptions: true })
      .configureOutput({
        writeOut: (text) => context.stdout.write(text),
        writeErr,
      });
  }
  return program;
}

function withSubcommands(command: Command): Command[] {
  return [command, ...command.commands.flatMap(withSubcommands)];
}

/** Looked up before the command line is parsed: that may be what fails. */
function wantsJson(args: readonly string[]): boolean {
  return args.some(
    (arg, index) =>
      arg === '-ojson' || arg === '--output=json' || (arg === 'json' && /^(-o|--output)$/.test(args[index - 1] ?? '')),
  );
}

/** In the form of every other error, though no agent has a hand in it. */
function usageJson(text: string): string {
  const message = text.replace(/^error: /, '');
  const help = 'See `holdfast --help`, or --help of the command.';
  const error = { code: 'usage', message, owner: 'caller', retryable: false, help };
  return `${JSON.stringify({ error }, null, 2)}\n`;
}

function timeoutSeconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 86_400)) throw new InvalidArgumentError('It must be a number of seconds up to 86400.');
  return value;
}

/** Where the one at a command line can do something that the table, written for all, does not name. */
const commandHelp: Partial<Record<ErrorCode, string>> = {
  link_lost: 'Check --agent or HOLDFAST_AGENT, and that the agent (locally: `npm start`) runs and can be reached.',
  unauthenticated:
    'Check HOLDFAST_TOKEN or --token-file: the agent must know the token by a [[token]] of its configuration.',
  deadline_exceeded: 'Look at `holdfast status`, or give more time with --timeout SECONDS.',
  app_invalid: 'Nothing was sent or changed. docs/app-file.md lists the keys.',
};

function errorText(error: AppError, isJson: boolean): string {
  const { owner, retryable } = errorTable[error.code];
  const help = commandHelp[error.code] ?? errorTable[error.code].help;
  if (isJson) {
    const { code, message, phase, data } = error;
    return `${JSON.stringify({ error: { code, message, phase, owner, retryable, help, data } }, null, 2)}\n`;
  }
  const logs = Array.isArray(error.data?.['logs']) ? error.data['logs'].slice(-20) : [];
  const shown = logs.map((line) => `  | ${String(line)}`);
  return [`holdfast: ${error.code}: ${error.message}`, ...shown, `  ${help}`, ''].join('\n');
}
