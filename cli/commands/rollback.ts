/** `holdfast rollback NAME [N]`: makes an earlier version live again. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { positiveInteger } from '../../shared/command/option-values.ts';
import { openSession } from '../session.ts';

const deadlineMs = 120_000;

export function rollbackCommand(context: CliContext): Command {
  return new Command('rollback')
    .description('make an earlier version live again')
    .argument('<name>', 'name of the app')
    .argument('[version]', 'version to make live (default: the one before the live one)', positiveInteger)
    .action(async (name: string, version: number | undefined, _options: unknown, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('versions.rollback', { app: name, version }, { deadlineMs });
      session.show(result, (done) => `${done.app}: version ${done.from} → ${done.version}`);
    });
}
