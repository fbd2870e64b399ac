/** `holdfast builds [NAME]`: what was built of sources, and why something was not. */
import { Command } from 'commander';
import type { BuildView } from '../../shared/protocol/views.ts';
import type { CliContext } from '../context.ts';
import { listLimit } from '../../shared/command/option-values.ts';
import { openSession } from '../session.ts';
import { failureText, seconds, shortTag, table } from '../text.ts';

export function buildsCommand(context: CliContext): Command {
  return new Command('builds')
    .description('list image builds, newest first, with the cause and last log lines of failed ones')
    .argument('[name]', 'name of the app (default: all apps)')
    .option('--limit <n>', 'maximum number to list, up to 1000', listLimit, 20)
    .action(async (name: string | undefined, options: { limit: number }, command: Command) => {
      const session = openSession(context, command);
      const result = await session.call('builds.list', { limit: options.limit, app: name });
      // A deleted app still has its builds; a name that never was has neither.
      if (name !== undefined && result.builds.length === 0) await session.call('apps.get', { app: name });
      session.show(result, ({ builds }) => {
        const failures = builds.flatMap(({ tag, app, version, failure }) =>
          failure === null
            ? []
            : [`${app} version ${version}, ${shortTag(tag)}, ${failure.at}\n${failureText(failure)}`],
        );
        const header = ['IMAGE', 'APP', 'VERSION', 'STATE', 'TOOK', 'BUILDER', 'QUEUED'];
        return [table(header, builds.map(row)), ...failures].join('\n\n');
      });
    });
}

function row(build: BuildView): string[] {
  const { tag, app, version, state, builder, queuedAt } = build;
  return [shortTag(tag), app, String(version), state, seconds(tookMs(build)), builder, queuedAt];
}

/** From the turn of the build to its end. */
function tookMs({ startedAt, endedAt }: BuildView): number | null {
  return startedAt === null || endedAt === null ? null : Date.parse(endedAt) - Date.parse(startedAt);
}
