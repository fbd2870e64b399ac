/** `holdfast versions NAME`: lists declared versions, what is running, and why a version failed. */
import { Command } from 'commander';
import type { VersionView } from '../../shared/protocol/views.ts';
import type { CliContext } from '../context.ts';
import { listLimit } from '../../shared/command/option-values.ts';
import { openSession } from '../session.ts';
import { failureText, seconds, table } from '../text.ts';

export function versionsCommand(context: CliContext): Command {
  return new Command('versions')
    .description('list the versions of an app, with the cause and last log lines of failed ones')
    .argument('<name>', 'name of the app')
    .option('--limit <n>', 'maximum number to list, newest first, up to 1000', listLimit, 20)
    .action(async (name: string, options: { limit: number }, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('versions.list', { app: name, limit: options.limit });
      session.show(result, ({ versions }) => {
        const failures = versions.flatMap(({ version, failure }) =>
          failure === null ? [] : [`version ${version}, ${failure.at}\n${failureText(failure)}`],
        );
        return [table(['VERSION', 'STATE', 'RUNS', 'ROLLOUT', 'CREATED', 'BY'], versions.map(row)), ...failures].join(
          '\n\n',
        );
      });
    });
}

function row(view: VersionView): string[] {
  return [
    `${view.version}${view.live ? ' (live)' : ''}`,
    view.state,
    whatRuns(view),
    seconds(view.timings?.rolloutMs),
    view.createdAt,
    view.createdBy,
  ];
}

function whatRuns({ image, imageDigest, source, sourceDigest }: VersionView): string {
  const digest = (imageDigest ?? sourceDigest ?? '').replace(/^sha256:/, '').slice(0, 12);
  return `${image ?? source ?? ''}${digest === '' ? '' : ` (${digest})`}`;
}
