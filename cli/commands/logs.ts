/** `holdfast logs NAME`: what the app writes. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { positiveInteger, wholeNumber } from '../options.ts';
import { openSession } from '../session.ts';

const followDeadlineMs = 24 * 3_600_000;

export function logsCommand(context: CliContext): Command {
  return new Command('logs')
    .description("show log lines of an app's instances")
    .argument('<name>', 'name of the app')
    .option('-f, --follow', 'go on until Ctrl-C', false)
    .option('--tail <n>', 'lines of each instance to begin with', wholeNumber, 100)
    .option('--version <n>', 'of this version only', positiveInteger)
    .action(async (name: string, options: { follow: boolean; tail: number; version?: number }, command: Command) => {
      const session = openSession(context, command);
      const { follow, tail, version } = options;
      await session.call(
        'logs.follow',
        { app: name, tail, follow, ...(version === undefined ? {} : { version }) },
        {
          ...(follow ? { deadlineMs: followDeadlineMs } : {}),
          onItem: (item) => {
            const text = session.isJson ? JSON.stringify(item) : `v${item.version} ${item.instance} | ${item.line}`;
            context.stdout.write(`${text}\n`);
          },
        },
      );
    });
}
