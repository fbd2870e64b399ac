/** `holdfast apps`: every app. */
import { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { openSession } from '../session.ts';
import { problemText, table } from '../text.ts';

export function appsCommand(context: CliContext): Command {
  return new Command('apps').description('list the apps').action(async (_options: unknown, command: Command) => {
    const session = openSession(context, command);
    const result = await session.call('apps.list', {});
    session.show(result, ({ apps }) =>
      apps.length === 0
        ? 'No apps. Declare one with `holdfast apply -f FILE`.'
        : table(
            ['NAME', 'STATE', 'VERSION', 'TARGETS', apps.some(({ url }) => url) ? 'URL' : 'PATH', 'PROBLEM'],
            apps.map((app) => [
              app.name,
              app.state,
              app.pendingVersion === null ? `${app.liveVersion}` : `${app.liveVersion} (${app.pendingVersion} pending)`,
              String(app.targets),
              app.url ?? app.path,
              problemText(app),
            ]),
          ),
    );
  });
}
