/** `holdfast delete NAME`: the app with every object of it. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { UsageError } from '../../shared/command/exit-code.ts';
import { openSession } from '../session.ts';

const deadlineMs = 120_000;

export function deleteCommand(context: CliContext): Command {
  return new Command('delete')
    .description('delete an app and everything it has except its volumes')
    .argument('<name>', 'name of the app')
    .option('--volumes', 'delete its volumes and their data too', false)
    .option('-y, --yes', 'do not ask for confirmation', false)
    .action(async (name: string, options: { volumes: boolean; yes: boolean }, command: Command) => {
      const session = openSession(context, command);
      if (!options.yes) {
        const what = options.volumes ? `${name} and its volumes` : name;
        const answer = await context.ask(`Delete ${what}? [y/N] `, context.interrupted);
        if (answer === undefined)
          throw new UsageError('cannot ask for confirmation without a terminal: pass --yes to delete');
        if (!/^y(es)?$/i.test(answer.trim())) {
          session.progress('Nothing was deleted.');
          return;
        }
      }
      const result = await session.call('apps.delete', { app: name, volumes: options.volumes }, { deadlineMs });
      session.show(result, ({ app, removed }) => [`${app}: deleted`, ...removed.map((one) => `  ${one}`)].join('\n'));
    });
}
