/** Defines the command line, runs a command and reports its errors. */
import { Command, Option } from 'commander';
import { exitCodes } from '../shared/command/exit-code.ts';
import { timeoutSeconds } from '../shared/command/option-values.ts';
import { reportError, wantsJson } from '../shared/command/report-error.ts';
import type { ErrorCode } from '../shared/error-codes.ts';
import { release } from '../shared/release.ts';
import { appCommand } from './commands/app.ts';
import { appsCommand } from './commands/apps.ts';
import { applyCommand } from './commands/apply.ts';
import { auditCommand } from './commands/audit.ts';
import { builderCommand } from './commands/builder.ts';
import { buildsCommand } from './commands/builds.ts';
import { deleteCommand } from './commands/delete.ts';
import { deployCommand } from './commands/deploy.ts';
import { devCommand } from './commands/dev.ts';
import { ensureCommand } from './commands/ensure.ts';
import { eventsCommand } from './commands/events.ts';
import { imagesCommand } from './commands/images.ts';
import { initCommand } from './commands/init.ts';
import { logsCommand } from './commands/logs.ts';
import { rollbackCommand } from './commands/rollback.ts';
import { startCommand } from './commands/start.ts';
import { statusCommand } from './commands/status.ts';
import { tokensCommand, whoamiCommand } from './commands/tokens.ts';
import { versionsCommand } from './commands/versions.ts';
import type { CliContext } from './context.ts';

const commands = [
  applyCommand,
  deployCommand,
  devCommand,
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
  auditCommand,
  tokensCommand,
  whoamiCommand,
  ensureCommand,
  statusCommand,
  startCommand,
  builderCommand,
];

/** Runs one command. @returns the exit code; never rejects. */
export async function runCli(args: readonly string[], context: CliContext): Promise<number> {
  const isJson = wantsJson(args);
  // Commander reports usage errors as text. With -o json that text is dropped, and `reportError` writes JSON.
  const program = buildProgram(context, isJson ? () => undefined : undefined);
  try {
    await program.parseAsync(args[0] === '--version' ? ['-V'] : args, { from: 'user' });
    return exitCodes.ok;
  } catch (error) {
    const write = (text: string): void => void context.stderr.write(text);
    return reportError(error, { isJson, write, interrupted: context.interrupted, help: commandHelp });
  }
}

export function buildProgram(
  context: CliContext,
  writeErr: (text: string) => void = (text) => context.stderr.write(text),
): Command {
  const program = new Command('holdfast')
    .description('Declare an app, call it, and it runs.')
    // Not --version: commander accepts program options anywhere, so it would take the one of `ensure NAME --version 2`.
    .version(release, '-V', 'print the release, same as `holdfast --version`')
    .option('--agent <url>', 'URL of the agent, http://host:port (HOLDFAST_AGENT)')
    .option('--token-file <file>', 'file with the token (HOLDFAST_TOKEN, HOLDFAST_TOKEN_FILE)')
    .addOption(new Option('-o, --output <form>', 'output format').choices(['table', 'json']).default('table'))
    .option('--timeout <seconds>', 'give up after this many seconds', timeoutSeconds);
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

/** Advice for someone at a command line, where it differs from the general advice of the error table. */
const commandHelp: Partial<Record<ErrorCode, string>> = {
  link_lost: 'Check --agent or HOLDFAST_AGENT, and that the agent is running (locally: `npm start`) and reachable.',
  unauthenticated:
    'Check HOLDFAST_TOKEN or --token-file. The token must be listed as a [[token]] in the configuration of the agent.',
  deadline_exceeded: 'Check `holdfast status`, or allow more time with --timeout SECONDS.',
  app_invalid: 'Nothing was changed. docs/app-file.md lists the keys.',
};
