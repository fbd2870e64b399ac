/** `holdfast builder serve`: turns this process into the builder, a program of its own (builder/main.ts). */
import { join } from 'node:path';
import { Command } from 'commander';
import { AppError } from '../../shared/errors.ts';
import type { CliContext } from '../context.ts';

const program = join(import.meta.dirname, '../../builder/main.ts');

/** Options of every command, which the CLI takes wherever they stand. */
interface GlobalOptions {
  readonly tokenFile?: string;
  readonly timeout?: number;
  readonly output: string;
}

export function builderCommand(context: CliContext): Command {
  const serve = new Command('serve')
    .description('build and push images for agents, with buildah, podman or docker of this machine, until Ctrl-C')
    // The builder parses them, --help too.
    .argument('[options...]')
    .helpOption(false)
    .allowUnknownOption()
    .action(async (_args: unknown, _options: unknown, command: Command) => {
      const { tokenFile, timeout, output } = command.optsWithGlobals<GlobalOptions>();
      const globals = [
        ...(tokenFile === undefined ? [] : ['--token-file', tokenFile]),
        ...(timeout === undefined ? [] : ['--timeout', String(timeout)]),
        ...(output === 'json' ? ['--output', output] : []),
      ];
      // Lets a signal that has arrived be handled: after the next line it would be lost.
      await new Promise((resolve) => setImmediate(resolve));
      if (!context.interrupted.aborted) become([program, ...globals, ...command.args], context.env);
    });
  return new Command('builder').description('a builder of images, for agents elsewhere').addCommand(serve);
}

/**
 * Replaces this process by Node with other arguments (execve(2)). The process id stays, so that signals, exit code, terminal and
 * service manager are those of the builder, and there is no second process that could outlive the first.
 */
function become(args: readonly string[], env: CliContext['env']): void {
  if (process.execve === undefined) throw new AppError('internal', 'this platform cannot start the builder: no execve');
  const { execPath, execArgv } = process;
  const set = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined);
  process.execve(execPath, [execPath, ...execArgv, ...args], Object.fromEntries(set));
}
