/** `holdfast events [NAME]`: what happened, newest last. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { listLimit } from '../../shared/command/option-values.ts';
import { openSession } from '../session.ts';
import { table } from '../text.ts';

export function eventsCommand(context: CliContext): Command {
  return new Command('events')
    .description('list the events of one app or of all apps, newest last')
    .argument('[name]', 'name of the app (default: all apps)')
    .option('--limit <n>', 'maximum number to list, up to 1000', listLimit, 50)
    .action(async (name: string | undefined, options: { limit: number }, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('events.list', { limit: options.limit, app: name });
      // A deleted app still has its events; a name that never was has neither.
      if (name !== undefined && result.events.length === 0) await session.call('apps.get', { app: name });
      session.show(result, ({ events }) =>
        table(
          ['TIME', 'BY', 'APP', 'VERSION', 'EVENT', 'MESSAGE'],
          events
            .toReversed()
            .map((event) => [
              event.at,
              event.actor,
              event.app ?? '',
              event.version === null ? '' : String(event.version),
              event.kind,
              event.message,
            ]),
        ),
      );
    });
}
